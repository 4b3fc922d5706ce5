/**
 * The review of a photo in the browser: what the server has, and what was decided since.
 *
 * Operations are those of `segpipe/store/reviews/review_operations.py`: each has what was decided
 * before (`was`) and what is decided now (`to`), so that the server can merge them, and so that the
 * same turned round takes it back.
 *
 * @typedef {"accept" | "reject" | "edit" | "add"} Verdict
 * @typedef {{verdict: Verdict, reason?: string, label?: string, mask?: import("../mask/bitmap.js").MaskRuns}} Said
 * @typedef {Said & {id: string}} Decision `id` is what it is about: the digest of the mask that was
 *   seen, or the name of what was added.
 * @typedef {{tag: string, done: boolean, decisions: Decision[]}} Review
 * @typedef {{op: "decide", key: string, was: Said | null, to: Said | null}} Decide
 * @typedef {{op: "done", to: boolean}} SetDone
 * @typedef {Decide | SetDone} Operation
 */

const FIELDS = ["verdict", "reason", "label", "mask"];
const DONE = "done";

/** Why an item was rejected, in the order of the keys 1 to 7. */
export const REASONS = [
  ["not_an_item", "Not an item"],
  ["double", "Double"],
  ["part_of_item", "Part of an item"],
  ["several_items", "Several items"],
  ["bad_edge", "Bad edge"],
  ["cut_off", "Cut off"],
  ["other", "Other"],
];

/** What a decision says, without who said it; null of none. @returns {Said | null} */
export function saidOf(/** @type {Said | null | undefined} */ decision) {
  if (!decision) return null;
  const given = FIELDS.filter((name) => (decision[name] ?? null) !== null);
  return /** @type {Said} */ (Object.fromEntries(given.map((name) => [name, decision[name]])));
}

/** Whether two decisions say the same. */
export function isSameSaid(one, other) {
  return JSON.stringify(saidOf(one)) === JSON.stringify(saidOf(other));
}

/** The decision about something, or null. @returns {Decision | null} */
export function decisionOf(/** @type {Review} */ review, key) {
  return review.decisions.find((each) => each.id === key) ?? null;
}

/** The operation that decides about something. @returns {Decide} */
export function decide(/** @type {Review} */ review, key, /** @type {Said | null} */ to) {
  return { op: "decide", key, was: saidOf(decisionOf(review, key)), to: saidOf(to) };
}

/** The operations that take others back, the last one first. @returns {Operation[]} */
export function turnedRound(/** @type {Operation[]} */ operations) {
  return operations
    .map((each) => (each.op === DONE ? { ...each, to: !each.to } : { ...each, was: each.to, to: each.was }))
    .reverse();
}

/** What an operation is about. */
export function subjectOf(/** @type {Operation} */ operation) {
  return operation.op === DONE ? DONE : operation.key;
}

/** The review with operations done to it, whatever others did meanwhile. */
export function applied(/** @type {Review} */ review, /** @type {Operation[]} */ operations) {
  let done = review.done;
  const decisions = new Map(review.decisions.map((each) => [each.id, each]));
  for (const operation of operations) {
    if (operation.op === DONE) done = operation.to;
    else if (operation.to) decisions.set(operation.key, { id: operation.key, ...operation.to });
    else decisions.delete(operation.key);
  }
  return { done, decisions: [...decisions.values()] };
}

/** Operations with at most one for each subject: what they come to together. @returns {Operation[]} */
export function compacted(/** @type {Operation[]} */ operations) {
  const last = new Map();
  for (const operation of operations) {
    const subject = subjectOf(operation);
    const before = last.get(subject);
    const together = before && operation.op !== DONE ? { ...operation, was: before.was } : operation;
    last.delete(subject);
    const isNothing = together.op !== DONE && isSameSaid(together.was, together.to);
    if (!isNothing) last.set(subject, together);
  }
  return [...last.values()];
}

/** The same wish after somebody else has decided about it; null when it is so already. */
export function rebased(/** @type {Operation} */ operation, /** @type {Review} */ present) {
  if (operation.op === DONE) return operation.to === present.done ? null : operation;
  const again = decide(present, operation.key, operation.to);
  return isSameSaid(again.was, again.to) ? null : again;
}

/** What two states of a review differ in. @returns {string[]} */
export function differences(before, after) {
  const [old, now] = [before, after].map(({ decisions }) => new Map(decisions.map((each) => [each.id, each])));
  const changed = [...new Set([...old.keys(), ...now.keys()])].filter((key) => !isSameSaid(old.get(key), now.get(key)));
  return before.done === after.done ? changed : [...changed, DONE];
}

/** What the sync of documents has to know of reviews. */
export const reviewRules = {
  applied,
  compacted,
  rebased,
  differences,
  subjectOf,
  listOf: ({ decisions }) => decisions,
  touchedBy: (problem) => problem.decisions,
  /** The review that the server gives. @returns {Review} */
  read: ({ tag, done, decisions }) => ({
    tag,
    done: done ?? false,
    decisions: (decisions ?? []).map((each) => ({ id: each.seen ?? each.id, ...saidOf(each), by: each.created_by })),
  }),
};
