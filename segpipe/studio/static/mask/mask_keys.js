/** The keys of the mask editor, which mean something while an item is being mended. */

const SHORTCUTS = [
  ["brush", "Brush", "b"],
  ["eraser", "Eraser", "e"],
  ["lasso", "Lasso", "l"],
  ["magic", "Points through the model", "m"],
  ["split", "Split by a line", "s"],
  ["join", "Join another item", "j"],
  ["pan", "Move the photo", "h"],
  ["smaller", "Smaller brush", ","],
  ["larger", "Larger brush", "."],
  ["fill", "Fill holes", "f"],
  ["islands", "Drop islands", "i"],
  ["grow", "Grow by a pixel", "w"],
  ["shrink", "Shrink by a pixel", "W"],
  ["coarse", "Back to the coarse mask", "c"],
  ["refined", "Back to the refined mask", "r"],
  ["before", "Back to before", "o"],
  ["loupe", "Loupe", "q"],
  ["reading-1", "First reading", "1"],
  ["reading-2", "Second reading", "2"],
  ["reading-3", "Third reading", "3"],
  ["take", "Take the reading", "t"],
  ["add", "Add the reading", "T"],
  ["undo", "Undo", "z"],
  ["undo-too", "Undo", "Control+z"],
  ["redo", "Do again", "Z"],
  ["redo-too", "Do again", "Control+Z"],
  ["done", "Keep it", "k"],
  ["cancel", "Leave it as it was", "Escape"],
];

/**
 * Put the keys into the table.
 *
 * @param {import("../keys.js").Keys} keys
 * @param {() => import("./mask_session.js").MaskSession | null} session The item being mended.
 */
export function addMaskKeys(keys, session) {
  for (const [name, title, key] of SHORTCUTS) {
    const run = () => session()?.run(name.replace("-too", ""));
    keys.add({ name: `mask-${name}`, title: `Mending: ${title}`, key, run, when: () => Boolean(session()) });
  }
}
