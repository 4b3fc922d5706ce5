/** The keys of the drawing page: names in the table that people may change, and the arrows. */

const SHORTCUTS = [
  ["select", "Select and move", "v"],
  ["box", "Draw a box", "b"],
  ["point", "Place a point", "p"],
  ["magic", "Click on an item", "m"],
  ["pan", "Move the photo", "h"],
  ["negative", "Draw what to leave out", "n"],
  ["undo", "Undo", "Control+z"],
  ["redo", "Redo", "Control+Z"],
  ["zoom-in", "Zoom in", "+"],
  ["zoom-out", "Zoom out", "-"],
  ["fit", "See all of it", "0"],
  ["next-item", "Next annotation", "]"],
  ["previous-item", "Previous annotation", "["],
  ["escape", "Let go of what is picked", "Escape"],
  ["turn", "Turn round: find, or leave out", "t"],
  ["class", "Write the class", "l"],
  ["remove", "Remove", "Delete"],
  ["example", "Use what was found as an example", "x"],
  ["not-this", "Not this", "X"],
  ["cut-out", "Cut this out", "c"],
  ["mend", "Mend the mask of what was found", "e"],
  ["reading-1", "First outline", "1"],
  ["reading-2", "Second outline", "2"],
  ["reading-3", "Third outline", "3"],
  ["take", "Take the outline", "a"],
  ["preview", "Preview", "r"],
  ["next-photo", "Next photo", "."],
  ["previous-photo", "Previous photo", ","],
];
const STEP_PX = 2;
const LARGE_STEP_PX = 20;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Put the page's keys into the table.
 *
 * @param {import("../keys.js").Keys} keys
 * @param {(name: string) => void} run
 * @param {() => boolean} isMending Whether the keys are those of the mask editor now.
 */
export function addKeys(keys, run, isMending) {
  for (const [name, title, key] of SHORTCUTS) {
    keys.add({ name: `draw-${name}`, title, key, run: () => run(name), when: () => !isMending() });
  }
}

/**
 * Arrows, Enter, Escape and Space mean the photo while it has the focus.
 *
 * @param {HTMLElement} stage
 * @param {import("./workplace.js").Workplace} work
 */
export function listenOnStage(stage, work) {
  const { editor } = work;
  stage.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || work.mending) return;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const step = (event.shiftKey ? LARGE_STEP_PX : STEP_PX) / work.surface.view.scale;
      const [dx, dy] = arrow.map((part) => part * step);
      if (event.ctrlKey) editor.grow(dx, dy);
      else editor.nudge(dx, dy);
    } else if (event.key === "Enter") {
      if (editor.tool === "magic" && editor.cross) work.candidates.add(editor.cross, !editor.isNegative);
      else editor.enter(work.middle);
    } else if (event.key === "Escape") {
      work.escape();
    } else if (event.key === " ") {
      work.isSpaceDown = true;
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    work.changed();
  });
  stage.addEventListener("keyup", (event) => {
    if (event.key === " ") work.isSpaceDown = false;
  });
  stage.addEventListener("blur", () => {
    work.isSpaceDown = false;
  });
}
