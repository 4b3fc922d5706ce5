/**
 * What is done and not saved yet, in the browser's storage: it outlives the page and the tab.
 *
 * @typedef {import("./prompts.js").Operation} Operation
 */

const STORE = "segpipe.unsaved ";
const TAB = "segpipe.tab";

/** Under which name a tab keeps what it has not saved of some prompts. */
export function keyOf(url, /** @type {Storage} */ session) {
  return `${STORE}${url} ${tabOf(session)}`;
}

/** Keep batches; none removes what was kept. */
export function keep(/** @type {Storage} */ storage, key, /** @type {Operation[][]} */ batches) {
  if (batches.length) storage.setItem(key, JSON.stringify(batches));
  else storage.removeItem(key);
}

/**
 * What pages before this one could not save of the same prompts, which is now this page's.
 *
 * Another tab that still has the same in memory sends it too, which changes nothing.
 *
 * @param {Storage} storage
 * @param {string} url
 * @param {string} ownKey
 * @returns {Operation[][]}
 */
export function adopted(storage, url, ownKey) {
  const found = namesIn(storage).filter((name) => name.startsWith(`${STORE}${url} `));
  return found.flatMap((name) => {
    const batches = parsed(storage.getItem(name));
    if (name !== ownKey) storage.removeItem(name);
    return batches;
  });
}

/** The addresses of prompts of which something is not saved. @returns {string[]} */
export function unsavedUrls(/** @type {Storage} */ storage) {
  const names = namesIn(storage).filter((name) => name.startsWith(STORE));
  return [...new Set(names.map((name) => name.slice(STORE.length).split(" ")[0]))];
}

function namesIn(/** @type {Storage} */ storage) {
  return Array.from({ length: storage.length }, (_, index) => storage.key(index) ?? "");
}

function parsed(text) {
  try {
    const batches = JSON.parse(text ?? "[]");
    return Array.isArray(batches) ? batches : [];
  } catch {
    return [];
  }
}

function tabOf(/** @type {Storage} */ session) {
  const known = session.getItem(TAB);
  if (known) return known;
  const numbers = crypto.getRandomValues(new Uint32Array(2));
  const made = Array.from(numbers, (value) => value.toString(36)).join("");
  session.setItem(TAB, made);
  return made;
}
