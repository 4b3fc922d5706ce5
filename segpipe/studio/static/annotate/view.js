/**
 * Where a photo lies on the screen: zoom, pan and pinch as pure functions.
 *
 * @typedef {{scale: number, x: number, y: number}} View Pixel p of the upright photo is drawn at
 *   p * scale + (x, y), in CSS pixels from the upper left corner of the stage.
 * @typedef {[number, number]} Place
 * @typedef {{width: number, height: number}} Size
 * @typedef {{min: number, max: number}} Limits CSS pixels for a pixel of the photo.
 */

/** Zoomed in as far as this, a pixel of the photo is this many CSS pixels. */
export const LARGEST_SCALE = 32;
/** A photo may be shrunk to this part of the size at which it fits. */
const SMALLEST_PART = 0.5;
/** So many CSS pixels of the photo stay on the stage, however it is moved. */
const KEPT_IN_SIGHT = 48;

/** The view that shows a whole photo in the middle of the stage. @returns {View} */
export function fit(/** @type {Size} */ stage, /** @type {Size} */ photo, margin = 16) {
  const width = Math.max(stage.width - 2 * margin, 1);
  const height = Math.max(stage.height - 2 * margin, 1);
  const scale = Math.min(width / photo.width, height / photo.height, LARGEST_SCALE);
  return centred(stage, [photo.width / 2, photo.height / 2], scale);
}

/** The view that has a place of the photo in the middle of the stage. @returns {View} */
export function centred(/** @type {Size} */ stage, /** @type {Place} */ [px, py], scale) {
  return { scale, x: stage.width / 2 - px * scale, y: stage.height / 2 - py * scale };
}

/** The view that shows a box of the photo as large as it goes. @returns {View} */
export function showing(/** @type {Size} */ stage, box, /** @type {Limits} */ limits, margin = 64) {
  const [x1, y1, x2, y2] = box;
  const across = (stage.width - 2 * margin) / Math.max(x2 - x1, 1e-6);
  const down = (stage.height - 2 * margin) / Math.max(y2 - y1, 1e-6);
  return centred(stage, [(x1 + x2) / 2, (y1 + y2) / 2], within(Math.min(across, down), limits));
}

/** How far one may zoom. @returns {Limits} */
export function limitsOf(/** @type {Size} */ stage, /** @type {Size} */ photo) {
  return { min: fit(stage, photo).scale * SMALLEST_PART, max: LARGEST_SCALE };
}

/** The place in the photo that is under a place on the stage. @returns {Place} */
export function toPhoto(/** @type {View} */ view, /** @type {Place} */ [sx, sy]) {
  return [(sx - view.x) / view.scale, (sy - view.y) / view.scale];
}

/** The place on the stage where a place of the photo is. @returns {Place} */
export function toStage(/** @type {View} */ view, /** @type {Place} */ [px, py]) {
  return [px * view.scale + view.x, py * view.scale + view.y];
}

/** The view moved over the stage. @returns {View} */
export function panned(/** @type {View} */ view, dx, dy) {
  return { scale: view.scale, x: view.x + dx, y: view.y + dy };
}

/** The view zoomed so that what is under a place on the stage stays there. @returns {View} */
export function zoomedAt(/** @type {View} */ view, /** @type {Place} */ at, factor, limits) {
  const scale = within(view.scale * factor, limits);
  const [px, py] = toPhoto(view, at);
  return { scale, x: at[0] - px * scale, y: at[1] - py * scale };
}

/**
 * The view after two fingers have moved: what was between them stays between them.
 *
 * @param {View} view
 * @param {[Place, Place]} before Where they were on the stage.
 * @param {[Place, Place]} after Where they are.
 * @param {Limits} limits
 * @returns {View}
 */
export function pinched(view, before, after, limits) {
  const [from, to] = [middle(before), middle(after)];
  const factor = distance(after) / Math.max(distance(before), 1);
  const zoomed = zoomedAt(view, from, factor, limits);
  return panned(zoomed, to[0] - from[0], to[1] - from[1]);
}

/** The view moved back as far as it takes to see something of the photo. @returns {View} */
export function inSight(/** @type {View} */ view, /** @type {Size} */ stage, /** @type {Size} */ photo) {
  const width = photo.width * view.scale;
  const height = photo.height * view.scale;
  return {
    scale: view.scale,
    x: between(view.x, KEPT_IN_SIGHT - width, stage.width - KEPT_IN_SIGHT),
    y: between(view.y, KEPT_IN_SIGHT - height, stage.height - KEPT_IN_SIGHT),
  };
}

/**
 * What turns a picture that was drawn for one view into one for another.
 *
 * @param {View} drawn The view that it was drawn for.
 * @param {View} view The view that is wanted.
 * @param {Place} origin Where its upper left corner lies on the stage.
 * @returns {View} How the picture is scaled about that corner, and where the corner goes.
 */
export function redirected(drawn, view, origin) {
  const scale = view.scale / drawn.scale;
  return {
    scale,
    x: (origin[0] - drawn.x) * scale + view.x,
    y: (origin[1] - drawn.y) * scale + view.y,
  };
}

/** The same as a value of CSS `transform`, about the upper left corner. */
export function css(/** @type {View} */ { scale, x, y }) {
  return `translate(${x}px, ${y}px) scale(${scale})`;
}

/** Whether two views are the same. */
export function isSame(/** @type {View} */ one, /** @type {View} */ other) {
  return one.scale === other.scale && one.x === other.x && one.y === other.y;
}

function within(scale, /** @type {Limits} */ { min, max }) {
  return between(scale, min, max);
}

function between(value, least, most) {
  return Math.max(Math.min(value, most), Math.min(least, most));
}

function middle([[ax, ay], [bx, by]]) {
  return [(ax + bx) / 2, (ay + by) / 2];
}

function distance([[ax, ay], [bx, by]]) {
  return Math.hypot(bx - ax, by - ay);
}
