/**
 * Undo and redo: a step is what one gesture did, as the operations that are sent to the server.
 *
 * @typedef {import("./prompts.js").Operation} Operation
 * @typedef {{name: string, operations: Operation[]}} Step
 */

/** Steps that are remembered, if nothing else is said. */
const MOST_STEPS = 200;

/** The operation that takes another one back. @returns {Operation} */
export function inverse(/** @type {Operation} */ operation) {
  switch (operation.op) {
    case "add":
      return { op: "remove", id: operation.id, was: operation.to };
    case "remove":
      return { op: "add", id: operation.id, to: operation.was };
    default:
      return { ...operation, was: operation.to, to: operation.was };
  }
}

/** The operations that take others back, the last one first. @returns {Operation[]} */
export function inverses(/** @type {Operation[]} */ operations) {
  return operations.map(inverse).reverse();
}

/** What was done and what was taken back. */
export class History {
  /** @type {Step[]} */ #done = [];
  /** @type {Step[]} */ #undone = [];

  /** @param {number} [most] Steps that are remembered. */
  constructor(most = MOST_STEPS) {
    this.most = most;
  }

  /** Remember a step; what was taken back before cannot be done again any more. */
  push(/** @type {Step} */ step) {
    if (!step.operations.length) return;
    this.#done.push(step);
    if (this.#done.length > this.most) this.#done.shift();
    this.#undone = [];
  }

  /** The step that undo takes back, or null. */
  get next() {
    return this.#done.at(-1) ?? null;
  }

  /** The step that redo does again, or null. */
  get nextRedo() {
    return this.#undone.at(-1) ?? null;
  }

  /** Take the last step back. @returns {Operation[]} What does it; none when there is no step. */
  undo() {
    const step = this.#done.pop();
    if (!step) return [];
    this.#undone.push(step);
    return inverses(step.operations);
  }

  /** Do the step again that was taken back last. @returns {Operation[]} */
  redo() {
    const step = this.#undone.pop();
    if (!step) return [];
    this.#done.push(step);
    return step.operations;
  }

  /** Forget the steps that concern an annotation, such as one that somebody else has changed. */
  forget(/** @type {string} */ id) {
    const concerns = (step) => step.operations.some((operation) => (operation.id ?? "text") === id);
    this.#done = this.#done.filter((step) => !concerns(step));
    this.#undone = this.#undone.filter((step) => !concerns(step));
  }
}
