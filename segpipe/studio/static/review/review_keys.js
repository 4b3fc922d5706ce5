/** The keys of the page on which people decide about items. */

import { REASONS } from "./decisions.js";

const SHORTCUTS = [
  ["accept", "Accept", "a"],
  ["reject", "Reject; then 1 to 7 say why", "x"],
  ["edit", "Mend the mask", "e"],
  ["new", "Draw an item that was not found", "w"],
  ["undo", "Undo", "z"],
  ["redo", "Do again", "Z"],
  ["undo-too", "Undo", "Control+z"],
  ["redo-too", "Do again", "Control+Z"],
  ["next", "Next item that is not reviewed", "n"],
  ["forward", "The item after", "]"],
  ["back", "The item before", "["],
  ["rest", "Accept the rest", "R"],
  ["done", "The photo is done: nothing is missing", "d"],
  ["sheet", "Contact sheet", "s"],
  ["escape", "Let go", "Escape"],
];

/**
 * Put the keys into the table.
 *
 * @param {import("../keys.js").Keys} keys
 * @param {(name: string) => void} run
 * @param {{isMending: () => boolean, isAskingWhy: () => boolean}} state
 */
export function addReviewKeys(keys, run, { isMending, isAskingWhy }) {
  for (const [name, title, key] of SHORTCUTS) {
    keys.add({
      name: `review-${name}`,
      title,
      key,
      run: () => run(name.replace("-too", "")),
      when: () => !isMending(),
    });
  }
  REASONS.forEach(([, title], index) => {
    keys.add({
      name: `review-why-${index + 1}`,
      title: `Reject: ${title.toLowerCase()}`,
      key: String(index + 1),
      run: () => run(`why-${index + 1}`),
      when: () => !isMending() && isAskingWhy(),
    });
  });
}
