/**
 * What a hand does to a mask: a brush along a line, and an area inside a line that is closed.
 *
 * @typedef {import("./bitmap.js").Bitmap} Bitmap
 * @typedef {import("./bitmap.js").Window} Window
 * @typedef {[number, number]} Place In pixels of the photo.
 */

/**
 * Paint a stroke: all pixels whose middle is within a radius of a line between two places.
 *
 * @param {Bitmap} mask Changed in place.
 * @param {Place} from
 * @param {Place} to
 * @param {number} radius Pixels.
 * @param {0 | 1} value 0 erases.
 * @returns {Window} What may have changed.
 */
export function paint(mask, [ax, ay], [bx, by], radius, value = 1) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const reach = radius * radius;
  const window = windowOf(mask, [ax, bx], [ay, by], radius);
  for (let y = window.y1; y < window.y2; y += 1) {
    for (let x = window.x1; x < window.x2; x += 1) {
      const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
      const along = length ? Math.max(0, Math.min(1, (px * dx + py * dy) / length)) : 0;
      const [ox, oy] = [px - along * dx, py - along * dy];
      if (ox * ox + oy * oy <= reach) mask.bits[y * mask.width + x] = value;
    }
  }
  return window;
}

/**
 * Fill the inside of a closed line, by the even-odd rule: all pixels whose middle is inside.
 *
 * @param {Bitmap} mask Changed in place.
 * @param {Place[]} corners
 * @param {0 | 1} value 0 erases.
 * @returns {Window} What may have changed.
 */
export function fillInside(mask, corners, value = 1) {
  const window = windowOf(mask, corners.map(([x]) => x), corners.map(([, y]) => y), 0);
  for (let y = window.y1; y < window.y2; y += 1) {
    const crossings = crossingsOf(corners, y + 0.5);
    for (let index = 0; index + 1 < crossings.length; index += 2) {
      // Pixels whose middle is at or right of the first crossing, and left of the second.
      const first = Math.max(Math.ceil(crossings[index] - 0.5), 0);
      const end = Math.min(Math.ceil(crossings[index + 1] - 0.5), mask.width);
      if (first < end) mask.bits.fill(value, y * mask.width + first, y * mask.width + end);
    }
  }
  return window;
}

/** The smallest window that has two others; null stands for none. @returns {Window | null} */
export function bothWindows(/** @type {Window | null} */ one, /** @type {Window | null} */ other) {
  if (!one || !other) return one ?? other;
  return {
    x1: Math.min(one.x1, other.x1),
    y1: Math.min(one.y1, other.y1),
    x2: Math.max(one.x2, other.x2),
    y2: Math.max(one.y2, other.y2),
  };
}

function crossingsOf(/** @type {Place[]} */ corners, level) {
  const found = [];
  corners.forEach(([ax, ay], index) => {
    const [bx, by] = corners[(index + 1) % corners.length];
    if (ay <= level !== by <= level) found.push(ax + ((level - ay) / (by - ay)) * (bx - ax));
  });
  return found.sort((one, other) => one - other);
}

function windowOf(/** @type {Bitmap} */ { width, height }, xs, ys, radius) {
  const x1 = Math.max(Math.floor(Math.min(...xs) - radius), 0);
  const y1 = Math.max(Math.floor(Math.min(...ys) - radius), 0);
  return {
    x1: Math.min(x1, width),
    y1: Math.min(y1, height),
    x2: Math.max(Math.min(Math.ceil(Math.max(...xs) + radius), width), Math.min(x1, width)),
    y2: Math.max(Math.min(Math.ceil(Math.max(...ys) + radius), height), Math.min(y1, height)),
  };
}
