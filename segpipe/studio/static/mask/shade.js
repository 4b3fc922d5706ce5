/**
 * How a mask looks in a view: its inside tinted, its edge drawn, for each pixel of the screen.
 *
 * What it costs depends on the screen alone, not on the photo; while somebody paints, only the part
 * is made anew that has changed.
 *
 * @typedef {import("./bitmap.js").Bitmap} Bitmap
 * @typedef {import("./bitmap.js").Window} Window
 * @typedef {import("../annotate/view.js").View} View
 */

/** As the canvas has them in memory: red, green, blue, how opaque. */
export const INSIDE = [0, 229, 255, 84];
export const EDGE = [0, 229, 255, 255];
const asNumber = ([red, green, blue, alpha]) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const [INSIDE_NUMBER, EDGE_NUMBER] = [INSIDE, EDGE].map(asNumber);

/**
 * The pixels of a part of the screen.
 *
 * @param {Bitmap} mask
 * @param {View} view Screen pixels, not CSS pixels.
 * @param {Window} part Of the screen.
 * @returns {Uint8ClampedArray} Red, green, blue and how opaque, row after row.
 */
export function shaded(mask, view, { x1, y1, x2, y2 }) {
  const [columns, rows] = [x2 - x1, y2 - y1];
  const shades = new Uint32Array(columns * rows);
  // One more to the left and above, for the edge.
  const across = Int32Array.from({ length: columns + 1 }, (_, x) => pixelAt(x1 + x - 1, view.x, view.scale, mask.width));
  let above = new Uint8Array(columns + 1);
  let row = new Uint8Array(columns + 1);
  for (let y = -1; y < rows; y += 1) {
    const down = pixelAt(y1 + y, view.y, view.scale, mask.height);
    if (down < 0) row.fill(0);
    else {
      const start = down * mask.width;
      for (let x = 0; x <= columns; x += 1) row[x] = across[x] < 0 ? 0 : mask.bits[start + across[x]];
    }
    if (y >= 0) {
      for (let x = 0; x < columns; x += 1) {
        const bit = row[x + 1];
        if (bit !== row[x] || bit !== above[x + 1]) shades[y * columns + x] = EDGE_NUMBER;
        else if (bit) shades[y * columns + x] = INSIDE_NUMBER;
      }
    }
    [above, row] = [row, above];
  }
  return new Uint8ClampedArray(shades.buffer);
}

/**
 * The part of the screen that shows a window of the photo.
 *
 * @param {Window} window
 * @param {View} view Screen pixels.
 * @param {{width: number, height: number}} screen
 * @returns {Window}
 */
export function shownWindow({ x1, y1, x2, y2 }, view, screen) {
  const clamp = (value, most) => Math.max(0, Math.min(value, most));
  return {
    x1: clamp(Math.floor(x1 * view.scale + view.x) - 1, screen.width),
    y1: clamp(Math.floor(y1 * view.scale + view.y) - 1, screen.height),
    x2: clamp(Math.ceil(x2 * view.scale + view.x) + 2, screen.width),
    y2: clamp(Math.ceil(y2 * view.scale + view.y) + 2, screen.height),
  };
}

/** The pixel of the photo that the middle of a screen pixel shows; -1 outside. */
function pixelAt(place, offset, scale, size) {
  const pixel = Math.floor((place + 0.5 - offset) / scale);
  return pixel >= 0 && pixel < size ? pixel : -1;
}
