/**
 * The lists and fields beside the photo.
 *
 * @typedef {import("./prompts.js").Annotation} Annotation
 */

const KINDS = {
  segment: "Box",
  positive_exemplar: "Example",
  negative_exemplar: "Not this",
};

/** What an annotation is called in lists. */
export function titleOf(/** @type {Annotation} */ annotation) {
  if (annotation.point) return annotation.label ? "Point on an item" : "Point off the item";
  return KINDS[annotation.prompt_type];
}

/** Whether it says what to leave out. */
export function isNegative(/** @type {Annotation} */ annotation) {
  return annotation.prompt_type === "negative_exemplar" || annotation.label === 0;
}

/** Where it is, for people. */
export function placeOf(/** @type {Annotation} */ annotation) {
  if (annotation.point) return annotation.point.map(Math.round).join(", ");
  const [x1, y1, x2, y2] = annotation.box.map(Math.round);
  return `${x2 - x1} × ${y2 - y1} at ${x1}, ${y1}`;
}

/**
 * Draw a list of annotations; a button each.
 *
 * @param {HTMLElement} list
 * @param {Annotation[]} annotations
 * @param {object} options
 * @param {string | null} options.picked
 * @param {(id: string) => void} options.onPick
 * @param {(id: string | null) => void} options.onPoint
 */
export function drawList(list, annotations, { picked, onPick, onPoint }) {
  const kept = new Map([...list.children].map((line) => [line.dataset.id, line]));
  const lines = annotations.map((annotation, index) => {
    const line = kept.get(annotation.id) ?? newLine(annotation.id, onPick, onPoint);
    const button = line.firstElementChild;
    const words = [`${index + 1}`, annotation.category || titleOf(annotation), placeOf(annotation)];
    [...button.children].forEach((part, place) => {
      if (part.textContent !== words[place]) part.textContent = words[place];
    });
    button.setAttribute("aria-pressed", String(annotation.id === picked));
    button.classList.toggle("negative", isNegative(annotation));
    button.classList.toggle("model", annotation.source === "model");
    return line;
  });
  const isSame = lines.length === list.children.length && lines.every((line, index) => list.children[index] === line);
  if (!isSame) list.replaceChildren(...lines);
}

function newLine(id, onPick, onPoint) {
  const line = document.createElement("li");
  line.dataset.id = id;
  const button = document.createElement("button");
  button.type = "button";
  button.append(...["n", "what", "where"].map((name) => Object.assign(document.createElement("span"), { className: name })));
  button.addEventListener("click", () => onPick(id));
  button.addEventListener("pointerenter", () => onPoint(id));
  button.addEventListener("pointerleave", () => onPoint(null));
  line.append(button);
  return line;
}

/** Say how saving goes. */
export function drawStatus(place, { state, waiting, detail }) {
  const changes = waiting === 1 ? "1 change" : `${waiting} changes`;
  const said = {
    saved: "Saved",
    saving: "Saving …",
    offline: waiting ? `Offline: ${changes} kept in this browser` : "Offline",
    broken: `Cannot save: ${detail}`,
    login: waiting ? `Log in again: ${changes} kept in this browser` : "Log in again",
    asking: "Somebody else changed the same",
  }[state];
  if (place.textContent !== said) place.textContent = said;
  place.dataset.state = state;
  place.title = detail;
}

/** Put a value into a field in which nobody is writing. */
export function fill(field, value) {
  if (document.activeElement !== field && field.value !== (value ?? "")) field.value = value ?? "";
}
