/**
 * Masks as bitmaps: a brush, and COCO's compressed run lengths, as segpipe writes them.
 *
 * @typedef {{width: number, height: number, bits: Uint8Array}} Bitmap Row after row, 0 or 1.
 * @typedef {{size: [number, number], counts: string}} CocoRle `size` is [height, width].
 */

const FIRST_CHARACTER = 48;
const GROUP_BITS = 5;
const GROUP_VALUE = 0x1f;
const GROUP_SIGN = 0x10;
const GROUP_MORE = 0x20;

/** An empty mask. @returns {Bitmap} */
export function emptyMask(width, height) {
  return { width, height, bits: new Uint8Array(width * height) };
}

/** Pixels inside. */
export function areaOfMask(/** @type {Bitmap} */ { bits }) {
  return bits.reduce((sum, bit) => sum + bit, 0);
}

/**
 * Paint a stroke: all pixels whose middle is within a radius of a line between two places.
 *
 * @param {Bitmap} mask Changed in place.
 * @param {[number, number]} from
 * @param {[number, number]} to
 * @param {number} radius Pixels.
 * @param {0 | 1} value 0 erases.
 */
export function paint(mask, [ax, ay], [bx, by], radius, value = 1) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const first = [Math.min(ax, bx) - radius, Math.min(ay, by) - radius].map(Math.floor);
  const last = [Math.max(ax, bx) + radius, Math.max(ay, by) + radius].map(Math.ceil);
  for (let y = Math.max(first[1], 0); y < Math.min(last[1], mask.height); y += 1) {
    for (let x = Math.max(first[0], 0); x < Math.min(last[0], mask.width); x += 1) {
      const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
      const along = length ? Math.max(0, Math.min(1, (px * dx + py * dy) / length)) : 0;
      const [ox, oy] = [px - along * dx, py - along * dy];
      if (ox * ox + oy * oy <= radius * radius) mask.bits[y * mask.width + x] = value;
    }
  }
}

/** The run lengths of a mask. @returns {CocoRle} */
export function toRle(/** @type {Bitmap} */ { width, height, bits }) {
  const counts = [];
  let [value, length] = [0, 0];
  for (let x = 0; x < width; x += 1) {
    for (let y = 0; y < height; y += 1) {
      const bit = bits[y * width + x];
      if (bit !== value) {
        counts.push(length);
        [value, length] = [bit, 0];
      }
      length += 1;
    }
  }
  counts.push(length);
  return { size: [height, width], counts: writeCounts(counts) };
}

/**
 * The mask of run lengths.
 *
 * @param {CocoRle} rle
 * @returns {Bitmap}
 */
export function fromRle({ size: [height, width], counts }) {
  const mask = emptyMask(width, height);
  let [place, value] = [0, 0];
  for (const length of readCounts(counts)) {
    if (length < 0 || place + length > width * height) throw new RangeError("the runs do not fit the mask");
    if (value) {
      for (let at = place; at < place + length; at += 1) {
        mask.bits[(at % height) * width + Math.floor(at / height)] = 1;
      }
    }
    place += length;
    value = 1 - value;
  }
  if (place !== width * height) throw new RangeError("the runs do not fill the mask");
  return mask;
}

/** From the fourth on, a count is written as its difference to the last of its kind. */
function writeCounts(/** @type {number[]} */ counts) {
  let text = "";
  counts.forEach((count, index) => {
    let rest = index > 2 ? count - counts[index - 2] : count;
    let isMore = true;
    while (isMore) {
      let group = rest & GROUP_VALUE;
      rest >>= GROUP_BITS;
      isMore = group & GROUP_SIGN ? rest !== -1 : rest !== 0;
      if (isMore) group |= GROUP_MORE;
      text += String.fromCharCode(group + FIRST_CHARACTER);
    }
  });
  return text;
}

function readCounts(/** @type {string} */ text) {
  const counts = [];
  let [value, shift] = [0, 0];
  for (const character of text) {
    const group = character.charCodeAt(0) - FIRST_CHARACTER;
    value |= (group & GROUP_VALUE) << shift;
    shift += GROUP_BITS;
    if (group & GROUP_MORE) continue;
    if (group & GROUP_SIGN && shift < 32) value |= -1 << shift;
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
    [value, shift] = [0, 0];
  }
  return counts;
}
