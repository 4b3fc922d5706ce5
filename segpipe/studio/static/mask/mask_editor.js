/**
 * What strokes and buttons do to the mask of one item; no DOM.
 *
 * @typedef {import("./bitmap.js").Bitmap} Bitmap
 * @typedef {import("./bitmap.js").MaskRuns} MaskRuns
 * @typedef {import("./bitmap.js").Window} Window
 * @typedef {import("./strokes.js").Place} Place
 * @typedef {"brush" | "eraser" | "lasso" | "magic" | "split" | "join" | "pan"} Tool
 * @typedef {{id: string, mask: MaskRuns}} NewItem
 * @typedef {{place: Place, isNegative: boolean}} Stroke
 */

import { emptyMask, fromRuns, join, tightWindow, toRuns } from "./bitmap.js";
import { MaskHistory } from "./mask_history.js";
import { grown, split, withoutHoles, withoutIslands } from "./shapes.js";
import { bothWindows, fillInside, paint } from "./strokes.js";
import { newId } from "../annotate/prompts.js";

export const RADII = [1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 120];
/** The first brush is this part of the item's longer side wide, or of the photo's. */
const [OF_ITEM, OF_PHOTO] = [1 / 8, 1 / 50];
const LINE_TOOLS = new Set(["lasso", "split"]);

export class MaskEditor extends EventTarget {
  /** @type {Tool} */ tool = "brush";
  /** Which of the radii the brush has. */ size = 0;
  /** The line that is being drawn around something, or through it. @type {Place[]} */ line = [];
  /** What has to be shown anew since the last time. @type {Window | null} */ dirty = null;
  #isDrawing = false;
  #isErasing = false;
  /** @type {Place} */ #last = [0, 0];
  /** @type {Window | null} */ #touched = null;

  /**
   * @param {object} options
   * @param {{width: number, height: number}} options.photo
   * @param {MaskRuns | null} options.before The mask as it is; none for a new item.
   * @param {{coarse?: MaskRuns | null, refined?: MaskRuns | null}} [options.made] What a run made.
   */
  constructor({ photo, before, made = {} }) {
    super();
    this.photo = photo;
    this.before = before;
    this.made = made;
    this.mask = before ? fromRuns(before, photo.width, photo.height) : emptyMask(photo.width, photo.height);
    this.history = new MaskHistory(this.mask);
    const width = before ? Math.max(...before.size) * OF_ITEM : Math.max(photo.width, photo.height) * OF_PHOTO;
    this.size = Math.max(RADII.findLastIndex((radius) => 2 * radius <= width), 0);
  }

  /** Pixels of the photo. */
  get radius() {
    return RADII[this.size];
  }

  /** The mask now, as it is saved; null when it has no pixel. @returns {MaskRuns | null} */
  get runs() {
    return toRuns(this.mask);
  }

  /** Whether it is another mask than before. */
  get isChanged() {
    return JSON.stringify(this.runs) !== JSON.stringify(this.before);
  }

  /** What was split off. @returns {NewItem[]} */
  get splitOff() {
    return this.history.also.flatMap(({ splitOff }) => splitOff ?? []);
  }

  /** The names of the items that were joined to this one. @returns {string[]} */
  get joined() {
    return this.history.also.flatMap((also) => also.joined ?? []);
  }

  choose(/** @type {Tool} */ tool) {
    this.cancel();
    this.tool = tool;
    this.#tell("tool");
  }

  /** A smaller or a larger brush. */
  resize(step) {
    this.size = Math.max(0, Math.min(RADII.length - 1, this.size + step));
    this.#tell("tool");
  }

  begin({ place, isNegative }) {
    this.#isDrawing = true;
    this.#isErasing = this.tool === "eraser" ? !isNegative : isNegative;
    this.#last = place;
    this.#touched = null;
    if (LINE_TOOLS.has(this.tool)) this.line = [place];
    else this.#paint(place);
  }

  move({ place }) {
    if (!this.#isDrawing) return;
    if (LINE_TOOLS.has(this.tool)) this.line.push(place);
    else this.#paint(place);
  }

  end({ place }) {
    if (!this.#isDrawing) return;
    this.move({ place });
    this.#isDrawing = false;
    const line = this.line;
    this.line = [];
    if (this.tool === "lasso") {
      const window = fillInside(this.mask, line, this.#isErasing ? 0 : 1);
      this.#commit(this.#isErasing ? "Lasso, taken away" : "Lasso", window);
    } else if (this.tool === "split") {
      this.#split(line);
    } else if (this.#touched) {
      this.#commit(this.#isErasing ? "Eraser" : "Brush", this.#touched);
    }
  }

  /** Leave a stroke in the middle: nothing has happened. */
  cancel() {
    if (this.#touched && this.#isDrawing) {
      this.history.revert(this.#touched);
      this.dirty = bothWindows(this.dirty, this.#touched);
    }
    this.#isDrawing = false;
    this.#touched = null;
    this.line = [];
  }

  fillHoles() {
    this.#replace("Holes filled", withoutHoles(this.mask));
  }

  dropIslands() {
    this.#replace("Islands dropped", withoutIslands(this.mask));
  }

  /** Grow, or shrink for a negative number, by pixels. */
  grow(pixels) {
    this.#replace(pixels > 0 ? "Grown" : "Shrunk", grown(this.mask, pixels));
  }

  /** Put a mask in place of this one. */
  reset(name, /** @type {MaskRuns | null | undefined} */ runs) {
    const { width, height } = this.photo;
    this.#replace(name, runs ? fromRuns(runs, width, height) : emptyMask(width, height));
  }

  /** Take a mask that the model offers: in place of this one, added to it or taken away from it. */
  take(/** @type {MaskRuns} */ runs, /** @type {"replace" | "add" | "subtract"} */ how) {
    const offered = fromRuns(runs, this.photo.width, this.photo.height);
    if (how === "replace") return this.#replace("Taken from the model", offered);
    const bits = this.mask.bits.map((bit, at) => (how === "add" ? bit | offered.bits[at] : bit & (1 - offered.bits[at])));
    return this.#replace(how === "add" ? "Added by the model" : "Taken away by the model", { ...this.mask, bits });
  }

  /** Join another item to this one. */
  joinWith(key, /** @type {MaskRuns} */ runs) {
    const joined = { ...this.mask, bits: this.mask.bits.slice() };
    join(joined, fromRuns(runs, this.photo.width, this.photo.height));
    this.#replace("Joined", joined, { joined: [key] });
  }

  undo() {
    return this.#turned(this.history.undo());
  }

  redo() {
    return this.#turned(this.history.redo());
  }

  #split(line) {
    const [largest, ...others] = split(this.mask, line);
    if (!others.length) {
      this.#tell("missed");
      return;
    }
    const splitOff = others.map((part) => ({ id: newId(), mask: toRuns(part) }));
    this.#replace(`Split into ${others.length + 1}`, largest, { splitOff });
  }

  #paint(/** @type {Place} */ place) {
    const window = paint(this.mask, this.#last, place, this.radius, this.#isErasing ? 0 : 1);
    this.#last = place;
    this.#touched = bothWindows(this.#touched, window);
    this.dirty = bothWindows(this.dirty, window);
  }

  #replace(name, /** @type {Bitmap} */ other, also) {
    this.cancel();
    const window = bothWindows(tightWindow(this.mask), tightWindow(other));
    if (!window) return;
    this.mask.bits.set(other.bits);
    this.#commit(name, window, also);
  }

  #commit(name, /** @type {Window} */ window, also) {
    this.dirty = bothWindows(this.dirty, window);
    this.#touched = null;
    if (this.history.commit(name, window, also)) this.#tell("mask", name);
  }

  #turned(step) {
    if (!step) return null;
    this.dirty = bothWindows(this.dirty, step.window);
    this.#tell("mask", step.name);
    return step.name;
  }

  /** `mask`: it is another one; `tool`: another tool or size; `missed`: a line split nothing. */
  #tell(kind, detail = "") {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
