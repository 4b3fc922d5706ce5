/**
 * What lies on a photo, and what of it is under the pointer: pure functions.
 *
 * @typedef {[number, number]} Place In pixels of the upright photo.
 * @typedef {[number, number, number, number]} Box `xyxy`, pixels of the upright photo.
 * @typedef {{width: number, height: number}} Size
 * @typedef {object} Item
 * @property {string} id
 * @property {Box} [box]
 * @property {Place} [point]
 * @property {string} [path] SVG path data relative to the box, 0 to 1: straight lines only.
 */

/** The handles of a box, by the sides that they move; in the order in which they are tried. */
export const HANDLES = ["nw", "ne", "se", "sw", "n", "e", "s", "w"];
/** No box gets smaller, in pixels of the photo. */
export const SMALLEST_SIDE = 1;

const NUMBER = /[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/g;

/** @type {WeakMap<object, {path: string, rings: Place[][]}>} */
const ringsOf = new WeakMap();

/**
 * What is under a place, the first to be picked first: points, then the smallest box.
 *
 * An item with an outline is hit inside the outline, and not in its holes.
 *
 * @param {Item[]} items
 * @param {Place} place
 * @param {number} tolerance How far beside it may be missed, in pixels of the photo.
 * @returns {Item[]}
 */
export function hits(items, place, tolerance = 0) {
  const points = items
    .filter((item) => item.point && distance(item.point, place) <= tolerance)
    .sort((one, other) => distance(one.point, place) - distance(other.point, place));
  const boxes = items
    .filter((item) => item.box && isInBox(item.box, place, tolerance) && isInOutline(item, place))
    .sort((one, other) => areaOf(one.box) - areaOf(other.box));
  return [...points, ...boxes];
}

/**
 * What a click picks: the first hit, or the next one when that is picked already.
 *
 * @param {Item[]} found As `hits` gives them.
 * @param {string | null} picked The id of what is picked.
 * @returns {Item | null}
 */
export function nextHit(found, picked) {
  const place = found.findIndex((item) => item.id === picked);
  return found.length ? found[(place + 1) % found.length] : null;
}

/** Whether a place is in a box, half-open, or that far beside it. */
export function isInBox(/** @type {Box} */ [x1, y1, x2, y2], [x, y], tolerance = 0) {
  return (
    x1 - tolerance <= x && x < x2 + tolerance && y1 - tolerance <= y && y < y2 + tolerance
  );
}

/** Whether a place is inside the outline of an item, by the even-odd rule; true without one. */
export function isInOutline(/** @type {Item} */ item, /** @type {Place} */ place) {
  if (!item.path) return true;
  let isInside = false;
  for (const ring of outlineOf(item)) if (isInRing(ring, place)) isInside = !isInside;
  return isInside;
}

/** The closed lines of an item's outline, in pixels of the photo. @returns {Place[][]} */
export function outlineOf(/** @type {Item} */ item) {
  const known = ringsOf.get(item);
  if (known && known.path === item.path) return known.rings;
  const rings = readRings(item.path, item.box);
  ringsOf.set(item, { path: item.path, rings });
  return rings;
}

/** The closed lines of SVG path data of `M`, `L` and `Z` that is relative to a box. */
export function readRings(/** @type {string} */ path, /** @type {Box} */ [x1, y1, x2, y2]) {
  return path
    .split("M")
    .slice(1)
    .map((ring) => {
      const numbers = (ring.match(NUMBER) ?? []).map(Number);
      const corners = [];
      for (let index = 0; index + 1 < numbers.length; index += 2) {
        corners.push([x1 + numbers[index] * (x2 - x1), y1 + numbers[index + 1] * (y2 - y1)]);
      }
      return corners;
    });
}

/** The handle of a box that is under a place, or null. */
export function handleAt(/** @type {Box} */ box, /** @type {Place} */ place, tolerance) {
  const isNear = (handle) => {
    const [x, y] = handlePlace(box, handle);
    return Math.abs(x - place[0]) <= tolerance && Math.abs(y - place[1]) <= tolerance;
  };
  return HANDLES.find(isNear) ?? null;
}

/** Where a handle of a box is. @returns {Place} */
export function handlePlace(/** @type {Box} */ [x1, y1, x2, y2], handle) {
  const x = handle.includes("w") ? x1 : handle.includes("e") ? x2 : (x1 + x2) / 2;
  const y = handle.includes("n") ? y1 : handle.includes("s") ? y2 : (y1 + y2) / 2;
  return [x, y];
}

/** The box between two corners, cut to the photo; null when too small to be meant. */
export function boxBetween(/** @type {Place} */ one, /** @type {Place} */ other, /** @type {Size} */ photo, least = SMALLEST_SIDE) {
  const [ax, ay] = clamped(one, photo);
  const [bx, by] = clamped(other, photo);
  const box = [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
  return box[2] - box[0] >= least && box[3] - box[1] >= least ? tidy(box) : null;
}

/** A box moved as a whole; it stays in the photo and keeps its size. @returns {Box} */
export function movedBox(/** @type {Box} */ [x1, y1, x2, y2], dx, dy, /** @type {Size} */ photo) {
  const right = Math.max(-x1, Math.min(dx, photo.width - x2));
  const down = Math.max(-y1, Math.min(dy, photo.height - y2));
  return tidy([x1 + right, y1 + down, x2 + right, y2 + down]);
}

/** A box with the sides of one handle at a place; sides do not pass each other. @returns {Box} */
export function resizedBox(/** @type {Box} */ box, handle, /** @type {Place} */ place, /** @type {Size} */ photo) {
  const [x, y] = clamped(place, photo);
  let [x1, y1, x2, y2] = box;
  if (handle.includes("w")) x1 = Math.min(x, x2 - SMALLEST_SIDE);
  if (handle.includes("e")) x2 = Math.max(x, x1 + SMALLEST_SIDE);
  if (handle.includes("n")) y1 = Math.min(y, y2 - SMALLEST_SIDE);
  if (handle.includes("s")) y2 = Math.max(y, y1 + SMALLEST_SIDE);
  return tidy([Math.max(x1, 0), Math.max(y1, 0), Math.min(x2, photo.width), Math.min(y2, photo.height)]);
}

/** A point moved; it stays inside the photo, whose far edges are outside. @returns {Place} */
export function placed(/** @type {Place} */ [x, y], /** @type {Size} */ photo) {
  const edge = 0.01;
  return [
    round(Math.max(0, Math.min(x, photo.width - edge))),
    round(Math.max(0, Math.min(y, photo.height - edge))),
  ];
}

/** Pixels that a box covers. */
export function areaOf(/** @type {Box} */ [x1, y1, x2, y2]) {
  return (x2 - x1) * (y2 - y1);
}

function isInRing(/** @type {Place[]} */ ring, [x, y]) {
  let isInside = false;
  let [px, py] = ring[ring.length - 1] ?? [0, 0];
  for (const [cx, cy] of ring) {
    if (cy > y !== py > y && x < ((px - cx) * (y - cy)) / (py - cy) + cx) isInside = !isInside;
    [px, py] = [cx, cy];
  }
  return isInside;
}

function clamped([x, y], /** @type {Size} */ photo) {
  return [Math.max(0, Math.min(x, photo.width)), Math.max(0, Math.min(y, photo.height))];
}

/** Hundredths of a pixel are enough for everybody, and short to read in a file. */
function tidy(box) {
  return box.map(round);
}

function round(value) {
  return Math.round(value * 100) / 100;
}

function distance([ax, ay], [bx, by]) {
  return Math.hypot(bx - ax, by - ay);
}
