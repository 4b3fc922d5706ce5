/**
 * What is done to a mask as a whole: holes, islands, growing, splitting. Nothing is changed in
 * place; pixels touch at edges and at corners, those of what is around at edges alone, as OpenCV
 * has it.
 *
 * @typedef {import("./bitmap.js").Bitmap} Bitmap
 * @typedef {import("./bitmap.js").Window} Window
 * @typedef {import("./strokes.js").Place} Place
 */

import { cutOut, emptyMask, tightWindow } from "./bitmap.js";
import { paint } from "./strokes.js";

/** The thinnest line that no two pixels that touch at a corner reach across. */
const CUT_RADIUS_PX = 0.75;
const EDGES = [[1, 0], [-1, 0], [0, 1], [0, -1]];
const CORNERS = [...EDGES, [1, 1], [1, -1], [-1, 1], [-1, -1]];

/** The mask with all its holes filled. @returns {Bitmap} */
export function withoutHoles(/** @type {Bitmap} */ mask) {
  return inWindow(mask, 1, (part) => {
    const { width, bits } = part;
    // Around the window there is a rim of one pixel: what is outside is connected by it.
    const outside = flooded(part, 0, [0], EDGES, new Uint8Array(bits.length));
    return { ...part, bits: bits.map((bit, at) => bit | (1 - outside[at])), width };
  });
}

/** The largest connected part of the mask alone. @returns {Bitmap} */
export function withoutIslands(/** @type {Bitmap} */ mask) {
  return inWindow(mask, 1, (part) => {
    const { labels, areas } = partsOf(part);
    const largest = areas.indexOf(Math.max(...areas.slice(1)), 1);
    return { ...part, bits: Uint8Array.from(labels, (label) => (label === largest ? 1 : 0)) };
  });
}

/**
 * The mask grown by all pixels that are no further than some pixels away from it, or, for a negative
 * number, without those that are so near to what is around. What is outside the photo is not around.
 *
 * @param {Bitmap} mask
 * @param {number} pixels
 * @returns {Bitmap}
 */
export function grown(mask, pixels) {
  const radius = Math.abs(pixels);
  const value = pixels > 0 ? 1 : 0;
  const result = { ...mask, bits: mask.bits.slice() };
  const tight = tightWindow(mask);
  if (!tight) return result;
  const near = widened(mask, tight, radius);
  for (let y = near.y1; y < near.y2; y += 1) {
    for (const [start, end] of runsOf(mask, y, near, value)) {
      for (let dy = -radius; dy <= radius; dy += 1) {
        if (y + dy < 0 || y + dy >= mask.height) continue;
        const half = Math.floor(Math.sqrt(radius * radius - dy * dy));
        const row = (y + dy) * mask.width;
        const [first, last] = [Math.max(start - half, 0), Math.min(end + half, mask.width)];
        result.bits.fill(value, row + first, row + last);
      }
    }
  }
  return result;
}

/**
 * The parts into which a line cuts a mask, the largest first: disjoint, and together the mask.
 *
 * What the line does not reach stays with the largest part, and the pixels under the line go to the
 * part that is nearest.
 *
 * @param {Bitmap} mask
 * @param {Place[]} line
 * @returns {Bitmap[]} The mask alone where the line does not cut it.
 */
export function split(mask, line) {
  const tight = tightWindow(mask);
  if (!tight) return [mask];
  const near = widened(mask, tight, 1);
  const whole = cutOut(mask, near);
  const cut = { ...whole, bits: whole.bits.slice() };
  const places = line.map(([x, y]) => /** @type {Place} */ ([x - near.x1, y - near.y1]));
  places.forEach((place, index) => paint(cut, place, places[index + 1] ?? place, CUT_RADIUS_PX, 0));
  const { labels, areas } = partsOf(cut);
  const touched = new Set([0]);
  forNeighbours(whole, (at, other) => {
    if (whole.bits[at] && !cut.bits[at]) touched.add(labels[other]);
  });
  const cutOff = [...touched].filter((label) => label).sort((one, other) => areas[other] - areas[one]);
  if (cutOff.length < 2) return [mask];
  giveToNearest(whole, labels);
  return cutOff.map((label, index) => {
    const isIts = (at) => labels[at] === label || (!index && !cutOff.includes(labels[at]));
    const part = { ...whole, bits: whole.bits.map((bit, at) => (bit && isIts(at) ? 1 : 0)) };
    return placed(mask, part, near);
  });
}

/** The connected parts of a bitmap: a number for each pixel, 0 outside, and how many have each. */
export function partsOf(/** @type {Bitmap} */ part) {
  const labels = new Int32Array(part.bits.length);
  const areas = [0];
  for (let at = 0; at < labels.length; at += 1) {
    if (!part.bits[at] || labels[at]) continue;
    const before = areas.length;
    flooded(part, 1, [at], CORNERS, labels, before);
    areas.push(0);
  }
  for (const label of labels) if (label) areas[label] += 1;
  return { labels, areas };
}

/** Mark all that is connected to some pixels of a value. */
function flooded({ width, height, bits }, value, seeds, steps, marks, mark = 1) {
  const waiting = seeds.filter((at) => bits[at] === value);
  for (const at of waiting) marks[at] = mark;
  while (waiting.length) {
    const at = waiting.pop();
    const [x, y] = [at % width, Math.floor(at / width)];
    for (const [dx, dy] of steps) {
      if (x + dx < 0 || x + dx >= width || y + dy < 0 || y + dy >= height) continue;
      const next = at + dy * width + dx;
      if (bits[next] !== value || marks[next]) continue;
      marks[next] = mark;
      waiting.push(next);
    }
  }
  return marks;
}

/** Give pixels that have no number that of the nearest that has one, ring by ring. */
function giveToNearest(/** @type {Bitmap} */ { width, height, bits }, labels) {
  let ring = [];
  for (let at = 0; at < bits.length; at += 1) if (labels[at]) ring.push(at);
  while (ring.length) {
    const next = [];
    for (const at of ring) {
      const [x, y] = [at % width, Math.floor(at / width)];
      for (const [dx, dy] of CORNERS) {
        if (x + dx < 0 || x + dx >= width || y + dy < 0 || y + dy >= height) continue;
        const other = at + dy * width + dx;
        if (!bits[other] || labels[other]) continue;
        labels[other] = labels[at];
        next.push(other);
      }
    }
    ring = next;
  }
}

function forNeighbours({ width, height }, tell) {
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (const [dx, dy] of CORNERS) {
        if (x + dx < 0 || x + dx >= width || y + dy < 0 || y + dy >= height) continue;
        tell(y * width + x, (y + dy) * width + x + dx);
      }
    }
  }
}

/** The places where a row has a value, [start, end) each. */
function runsOf(/** @type {Bitmap} */ { width, bits }, y, /** @type {Window} */ { x1, x2 }, value) {
  const row = bits.subarray(y * width + x1, y * width + x2);
  const runs = [];
  let start = row.indexOf(value);
  while (start >= 0) {
    const end = row.indexOf(1 - value, start);
    runs.push([x1 + start, end < 0 ? x2 : x1 + end]);
    start = end < 0 ? -1 : row.indexOf(value, end);
  }
  return runs;
}

function widened({ width, height }, /** @type {Window} */ { x1, y1, x2, y2 }, pixels) {
  return {
    x1: Math.max(x1 - pixels, 0),
    y1: Math.max(y1 - pixels, 0),
    x2: Math.min(x2 + pixels, width),
    y2: Math.min(y2 + pixels, height),
  };
}

/** Do something with the smallest bitmap that has all pixels, and a rim of empty ones around it. */
function inWindow(/** @type {Bitmap} */ mask, rim, change) {
  const tight = tightWindow(mask);
  if (!tight) return { ...mask, bits: mask.bits.slice() };
  const inner = cutOut(mask, tight);
  const outer = emptyMask(inner.width + 2 * rim, inner.height + 2 * rim);
  const row = (y) => inner.bits.subarray(y * inner.width, (y + 1) * inner.width);
  for (let y = 0; y < inner.height; y += 1) outer.bits.set(row(y), (y + rim) * outer.width + rim);
  const changed = change(outer);
  return placed(mask, cutOut(changed, { x1: rim, y1: rim, x2: rim + inner.width, y2: rim + inner.height }), tight);
}

function placed({ width, height }, /** @type {Bitmap} */ part, /** @type {Window} */ { x1, y1 }) {
  const mask = emptyMask(width, height);
  for (let y = 0; y < part.height; y += 1) {
    mask.bits.set(part.bits.subarray(y * part.width, (y + 1) * part.width), (y1 + y) * width + x1);
  }
  return mask;
}
