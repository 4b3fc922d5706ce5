/**
 * The prompts of a photo in the browser: what the server has, and what was done since.
 *
 * Operations are those of `segpipe/store/prompts/prompt_operations.py`: each has what the person saw
 * (`was`) and what it shall be (`to`), so the server can merge them.
 *
 * @typedef {object} Shape
 * @property {"find_all" | "inside_box"} mode
 * @property {"segment" | "positive_exemplar" | "negative_exemplar" | "point"} prompt_type
 * @property {[number, number, number, number]} [box]
 * @property {[number, number]} [point]
 * @property {0 | 1} [label]
 * @property {string} [category]
 *
 * @typedef {Shape & {id: string, source?: string, created_by?: string}} Annotation
 *
 * @typedef {object} Operation
 * @property {"add" | "change" | "remove" | "text"} op
 * @property {string} [id]
 * @property {any} [was]
 * @property {any} [to]
 *
 * @typedef {{text: string | null, annotations: Annotation[]}} Prompts
 */

const FIELDS = ["mode", "prompt_type", "box", "point", "label", "category"];
const ID_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789";
const ID_LENGTH = 12;

/** What an annotation says, without who made it. @returns {Shape} */
export function shapeOf(/** @type {Annotation} */ annotation) {
  const given = FIELDS.filter((name) => (annotation[name] ?? null) !== null);
  return Object.fromEntries(given.map((name) => [name, annotation[name]]));
}

/** Whether two shapes, or texts, say the same. */
export function isSameValue(one, other) {
  if (typeof one !== "object" || typeof other !== "object" || !one || !other) {
    return (one ?? null) === (other ?? null);
  }
  return FIELDS.every((name) => {
    return JSON.stringify(one[name] ?? null) === JSON.stringify(other[name] ?? null);
  });
}

/** An id that nobody else makes up. */
export function newId() {
  const letters = crypto.getRandomValues(new Uint8Array(ID_LENGTH));
  return "u-" + Array.from(letters, (value) => ID_LETTERS[value % ID_LETTERS.length]).join("");
}

/** What an operation is about: the id of an annotation, or `text`. */
export function subjectOf(/** @type {Operation} */ operation) {
  return operation.id ?? "text";
}

/** The prompts with operations done to them, whatever others did meanwhile. @returns {Prompts} */
export function applied(/** @type {Prompts} */ prompts, /** @type {Operation[]} */ operations) {
  let text = prompts.text;
  const annotations = new Map(prompts.annotations.map((each) => [each.id, each]));
  for (const { op, id, was, to } of operations) {
    const present = annotations.get(id);
    if (op === "text") text = to;
    else if (op === "remove") annotations.delete(id);
    else if (op === "add") annotations.set(id, present ?? { id, source: "user", ...to });
    else if (present) annotations.set(id, withChange(present, was, to));
  }
  return { text, annotations: [...annotations.values()] };
}

/** An annotation with the fields changed in which two shapes differ. @returns {Annotation} */
function withChange(/** @type {Annotation} */ present, /** @type {Shape} */ was, /** @type {Shape} */ to) {
  const changed = { ...present };
  for (const name of FIELDS) {
    if (JSON.stringify(was[name] ?? null) !== JSON.stringify(to[name] ?? null)) {
      changed[name] = to[name];
    }
  }
  return changed;
}

/**
 * Operations with at most one for each subject: what they come to together.
 *
 * A request that may have been lost can be sent again only if none of its operations builds on
 * another one of it.
 *
 * @param {Operation[]} operations
 * @returns {Operation[]}
 */
export function compacted(operations) {
  const last = new Map();
  for (const operation of operations) {
    const subject = subjectOf(operation);
    const before = last.get(subject);
    const together = before ? joined(before, operation) : operation;
    last.delete(subject);
    if (together) last.set(subject, together);
  }
  return [...last.values()];
}

/** Two operations on one subject as one; null when they come to nothing. */
function joined(/** @type {Operation} */ one, /** @type {Operation} */ other) {
  if (one.op === "add") {
    if (other.op === "remove") return null;
    return { ...one, to: other.to };
  }
  if (one.op === "remove") {
    // Taken away and drawn again: it is there as before, or otherwise.
    if (isSameValue(one.was, other.to)) return null;
    return { op: "change", id: one.id, was: one.was, to: other.to };
  }
  if (other.op === "remove") return { op: "remove", id: one.id, was: one.was };
  if (isSameValue(one.was, other.to)) return null;
  return { ...one, to: other.to };
}

/**
 * The same wish after somebody else has changed its subject: what is there now is seen.
 *
 * @param {Operation} operation
 * @param {Prompts} present
 * @returns {Operation | null} Null when it is so already.
 */
export function rebased(operation, present) {
  if (operation.op === "text") {
    const isDone = isSameValue(present.text, operation.to);
    return isDone ? null : { ...operation, was: present.text };
  }
  const found = present.annotations.find((each) => each.id === operation.id);
  if (operation.op === "remove") return found ? { ...operation, was: shapeOf(found) } : null;
  if (!found) return { op: "add", id: operation.id, to: operation.to };
  if (isSameValue(shapeOf(found), operation.to)) return null;
  return { op: "change", id: operation.id, was: shapeOf(found), to: operation.to };
}

/** The ids, and `text`, in which two states of the prompts differ. @returns {string[]} */
export function differences(/** @type {Prompts} */ before, /** @type {Prompts} */ after) {
  const [old, now] = [before, after].map((each) => new Map(each.annotations.map((one) => [one.id, one])));
  const ids = new Set([...old.keys(), ...now.keys()]);
  const changed = [...ids].filter((id) => {
    const [one, other] = [old.get(id), now.get(id)];
    return !one || !other || !isSameValue(shapeOf(one), shapeOf(other));
  });
  return (before.text ?? null) === (after.text ?? null) ? changed : [...changed, "text"];
}

/** What the sync of documents has to know of prompts. */
export const promptRules = {
  applied,
  compacted,
  rebased,
  differences,
  subjectOf,
  /** Things with an `id` each. */
  listOf: ({ annotations }) => annotations,
  /** What others have changed otherwise, of the answer that says so. */
  touchedBy: (problem) => problem.annotations,
  /** The prompts that the server gives. */
  read: ({ tag, text, annotations }) => ({ tag, text: text ?? null, annotations: annotations ?? [] }),
};
