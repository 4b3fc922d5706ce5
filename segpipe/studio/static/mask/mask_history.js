/**
 * Undo and redo of a mask: a step is which pixels one stroke turned over, so that taking it back is
 * doing it again, and is exact.
 *
 * @typedef {import("./bitmap.js").Bitmap} Bitmap
 * @typedef {import("./bitmap.js").Window} Window
 * @typedef {{name: string, window: Window, turned: Uint8Array, also?: any}} Step `turned` has the
 *   pixels of the window, row after row, 8 a byte; `also` is whatever else the step did.
 */

import { tightWindow } from "./bitmap.js";

/** The pixels that two masks of one size differ in; null when there are none. @returns {Window | null} */
export function differing(/** @type {Uint8Array} */ before, /** @type {Bitmap} */ mask, /** @type {Window} */ within) {
  const { width, height } = mask;
  const rows = Math.max(within.y2 - within.y1, 0);
  const columns = Math.max(within.x2 - within.x1, 0);
  const turned = new Uint8Array(rows * columns);
  for (let y = 0; y < rows; y += 1) {
    const start = (within.y1 + y) * width + within.x1;
    for (let x = 0; x < columns; x += 1) turned[y * columns + x] = before[start + x] ^ mask.bits[start + x];
  }
  const tight = tightWindow({ width: columns, height: rows, bits: turned });
  return tight && moved(tight, within.x1, within.y1, { width, height });
}

export class MaskHistory {
  /** The mask as it was after the last step. @type {Uint8Array} */ #before;
  /** @type {Step[]} */ #done = [];
  /** @type {Step[]} */ #undone = [];

  /** @param {Bitmap} mask Changed in place by who draws; by this on undo and redo. */
  constructor(mask) {
    this.mask = mask;
    this.#before = mask.bits.slice();
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** What else was done by the steps that hold. */
  get also() {
    return this.#done.map((step) => step.also).filter(Boolean);
  }

  /** How many steps lie behind. */
  get depth() {
    return this.#done.length;
  }

  /**
   * Remember what was done since the last step.
   *
   * @param {string} name
   * @param {Window} within Where something may have changed.
   * @param {any} [also] What else the step did, which is taken back with it.
   * @returns {boolean} Whether anything did.
   */
  commit(name, within, also) {
    const window = differing(this.#before, this.mask, within);
    if (!window) return false;
    this.#done.push({ name, window, turned: packed(this.#before, this.mask, window), also });
    this.#undone = [];
    this.#remember(window);
    return true;
  }

  /** Take back what was drawn since the last step. */
  revert(/** @type {Window} */ { x1, y1, x2, y2 }) {
    for (let y = y1; y < y2; y += 1) {
      const row = y * this.mask.width;
      this.mask.bits.set(this.#before.subarray(row + x1, row + x2), row + x1);
    }
  }

  /** Take the last step back. @returns {Step | null} */
  undo() {
    return this.#turn(this.#done, this.#undone);
  }

  /** Do the step again that was taken back last. @returns {Step | null} */
  redo() {
    return this.#turn(this.#undone, this.#done);
  }

  #turn(from, to) {
    const step = from.pop();
    if (!step) return null;
    to.push(step);
    turnOver(this.mask, step);
    this.#remember(step.window);
    return step;
  }

  #remember({ x1, y1, x2, y2 }) {
    for (let y = y1; y < y2; y += 1) {
      const row = y * this.mask.width;
      this.#before.set(this.mask.bits.subarray(row + x1, row + x2), row + x1);
    }
  }
}

function packed(before, { width, bits }, { x1, y1, x2, y2 }) {
  const columns = x2 - x1;
  const turned = new Uint8Array(Math.ceil((columns * (y2 - y1)) / 8));
  let place = 0;
  for (let y = y1; y < y2; y += 1) {
    for (let at = y * width + x1; at < y * width + x2; at += 1, place += 1) {
      if (before[at] !== bits[at]) turned[place >> 3] |= 128 >> (place & 7);
    }
  }
  return turned;
}

function turnOver({ width, bits }, { window: { x1, y1, x2, y2 }, turned }) {
  let place = 0;
  for (let y = y1; y < y2; y += 1) {
    for (let at = y * width + x1; at < y * width + x2; at += 1, place += 1) {
      if (turned[place >> 3] & (128 >> (place & 7))) bits[at] ^= 1;
    }
  }
}

function moved({ x1, y1, x2, y2 }, dx, dy, { width, height }) {
  return { x1: x1 + dx, y1: y1 + dy, x2: Math.min(x2 + dx, width), y2: Math.min(y2 + dy, height) };
}
