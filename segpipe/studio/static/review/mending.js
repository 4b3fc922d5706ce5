/**
 * What mending an item comes to as decisions: the item's own mask, what was split off, what was
 * joined. Whatever a step did is taken back with it, and leaves no trace.
 *
 * @typedef {import("./decisions.js").Said} Said
 * @typedef {import("./decisions.js").Review} Review
 * @typedef {import("./decisions.js").Operation} Operation
 * @typedef {import("../mask/mask_editor.js").MaskEditor} MaskEditor
 */

import { decide, decisionOf, isSameSaid, saidOf } from "./decisions.js";

export class Mending {
  /** What was decided about each thing before it was touched. @type {Map<string, Said | null>} */ #before = new Map();

  /**
   * @param {object} options
   * @param {string} options.key What a decision about the item is about.
   * @param {boolean} options.isNew Whether no run found it.
   * @param {() => Review} options.review As it is now.
   */
  constructor({ key, isNew, review }) {
    Object.assign(this, { key, isNew, review });
  }

  /** The operations that make the review say what the editor shows. @returns {Operation[]} */
  operations(/** @type {MaskEditor} */ editor) {
    const wanted = this.#wanted(editor);
    for (const key of wanted.keys()) {
      if (!this.#before.has(key)) this.#before.set(key, saidOf(decisionOf(this.review(), key)));
    }
    return this.#changes((key) => (wanted.has(key) ? wanted.get(key) : this.#before.get(key)));
  }

  /** The operations that leave everything as it was. @returns {Operation[]} */
  leave() {
    return this.#changes((key) => this.#before.get(key));
  }

  /** All of it as one step, from what was before to what is now. @returns {Operation[]} */
  step() {
    const review = this.review();
    return [...this.#before]
      .map(([key, was]) => ({ op: "decide", key, was, to: saidOf(decisionOf(review, key)) }))
      .filter(({ was, to }) => !isSameSaid(was, to));
  }

  /** @returns {Map<string, Said | null>} */
  #wanted(editor) {
    const wanted = new Map();
    const label = this.#before.get(this.key)?.label;
    const mask = editor.runs;
    const isMine = editor.isChanged || editor.splitOff.length || editor.joined.length;
    if (mask && isMine) wanted.set(this.key, saidOf({ verdict: this.isNew ? "add" : "edit", mask, label }));
    for (const part of editor.splitOff) wanted.set(part.id, { verdict: "add", mask: part.mask });
    for (const key of editor.joined) wanted.set(key, { verdict: "reject", reason: "part_of_item" });
    if (!this.#before.has(this.key)) this.#before.set(this.key, saidOf(decisionOf(this.review(), this.key)));
    return wanted;
  }

  #changes(saidNow) {
    const review = this.review();
    return [...this.#before.keys()]
      .map((key) => decide(review, key, saidNow(key) ?? null))
      .filter(({ was, to }) => !isSameSaid(was, to));
  }
}
