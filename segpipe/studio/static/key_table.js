// The list of keys in the help dialog: change one, switch all off, reset.

import { keyOf, keys } from "./keys.js";

function row(shortcut, redraw) {
  const line = document.createElement("li");
  const title = Object.assign(document.createElement("span"), { textContent: shortcut.title });
  const button = Object.assign(document.createElement("button"), {
    type: "button",
    className: "key",
    textContent: keys.keyFor(shortcut.name) || "off",
  });
  button.setAttribute("aria-label", `Change the key of: ${shortcut.title}`);
  button.addEventListener("click", () => {
    button.textContent = "press a key";
    const take = (event) => {
      event.preventDefault();
      event.stopPropagation();
      if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
      button.removeEventListener("keydown", take);
      if (event.key !== "Escape") keys.change(shortcut.name, event.key === "Backspace" ? "" : keyOf(event));
      redraw();
    };
    button.addEventListener("keydown", take);
  });
  line.append(title, button);
  return line;
}

/** Draw the table into an element. */
export function drawKeyTable(place) {
  const redraw = () => drawKeyTable(place);
  const list = document.createElement("ul");
  list.className = "keys";
  list.append(...[...keys.shortcuts.values()].map((shortcut) => row(shortcut, redraw)));
  const off = Object.assign(document.createElement("input"), { type: "checkbox", checked: !keys.isOff });
  off.addEventListener("change", () => {
    keys.isOff = !off.checked;
  });
  const label = document.createElement("label");
  label.className = "check";
  label.append(off, " Single keys do something");
  const reset = Object.assign(document.createElement("button"), { type: "button", textContent: "Reset the keys" });
  reset.addEventListener("click", () => {
    keys.reset();
    redraw();
  });
  const hint = Object.assign(document.createElement("p"), {
    className: "muted",
    textContent: "Press a key's button, then the new key; Backspace switches it off.",
  });
  place.replaceChildren(list, hint, label, reset);
}
