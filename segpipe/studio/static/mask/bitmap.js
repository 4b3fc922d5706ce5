/**
 * Masks as bitmaps, and as COCO's compressed run lengths, as segpipe writes them.
 *
 * @typedef {{width: number, height: number, bits: Uint8Array}} Bitmap Row after row, 0 or 1.
 * @typedef {{x1: number, y1: number, x2: number, y2: number}} Window Pixels, half-open.
 * @typedef {{size: [number, number], counts: string}} CocoRle `size` is [height, width].
 * @typedef {CocoRle & {x: number, y: number}} MaskRuns Of a window of a photo; x and y its corner.
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
  let area = 0;
  for (let at = 0; at < bits.length; at += 1) area += bits[at];
  return area;
}

/**
 * The smallest window that has all pixels of a mask, or null when there are none.
 *
 * @param {Bitmap} mask
 * @param {Window} [within] Where to look; everywhere by default.
 * @returns {Window | null}
 */
export function tightWindow({ width, height, bits }, within = { x1: 0, y1: 0, x2: width, y2: height }) {
  let [x1, y1, x2, y2] = [within.x2, -1, within.x1, 0];
  for (let y = within.y1; y < within.y2; y += 1) {
    const row = bits.subarray(y * width + within.x1, y * width + within.x2);
    const first = row.indexOf(1);
    if (first < 0) continue;
    if (y1 < 0) y1 = y;
    y2 = y + 1;
    x1 = Math.min(x1, within.x1 + first);
    x2 = Math.max(x2, within.x1 + row.lastIndexOf(1) + 1);
  }
  return y1 < 0 ? null : { x1, y1, x2, y2 };
}

/** A window of a mask, a new bitmap. @returns {Bitmap} */
export function cutOut(/** @type {Bitmap} */ mask, /** @type {Window} */ { x1, y1, x2, y2 }) {
  const part = emptyMask(x2 - x1, y2 - y1);
  for (let y = y1; y < y2; y += 1) {
    part.bits.set(mask.bits.subarray(y * mask.width + x1, y * mask.width + x2), (y - y1) * part.width);
  }
  return part;
}

/** Add a bitmap to a mask, in place, where its upper left corner comes to a place. */
export function join(/** @type {Bitmap} */ mask, /** @type {Bitmap} */ part, x = 0, y = 0) {
  for (let row = 0; row < part.height; row += 1) {
    const [from, to] = [row * part.width, (y + row) * mask.width + x];
    for (let column = 0; column < part.width; column += 1) mask.bits[to + column] |= part.bits[from + column];
  }
}

/**
 * A mask as reviews keep it: the run lengths of the smallest window that has all its pixels.
 *
 * @param {Bitmap} mask
 * @param {Window | null} [window] That window, when it is known.
 * @returns {MaskRuns | null} Null when it has no pixel.
 */
export function toRuns(mask, window = tightWindow(mask)) {
  if (!window) return null;
  return { x: window.x1, y: window.y1, ...toRle(cutOut(mask, window)) };
}

/** The mask that runs are of, in a photo of some size. @returns {Bitmap} */
export function fromRuns(/** @type {MaskRuns} */ { x, y, size, counts }, width, height) {
  if (x < 0 || y < 0 || x + size[1] > width || y + size[0] > height) {
    throw new RangeError("the mask does not lie in the photo");
  }
  const mask = emptyMask(width, height);
  join(mask, fromRle({ size, counts }), x, y);
  return mask;
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
