// Short messages at the edge of the page, perhaps with a button such as Undo.

const LIFETIME_MS = 8_000;

/**
 * Show a message for a while.
 * @param {string} text What to say.
 * @param {{kind?: "info" | "bad", action?: string, onAction?: () => void}} [options]
 * @returns {() => void} Takes it away.
 */
export function toast(text, { kind = "info", action, onAction } = {}) {
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  box.append(Object.assign(document.createElement("span"), { textContent: text }));
  const remove = () => box.remove();
  if (action && onAction) {
    const button = Object.assign(document.createElement("button"), { textContent: action });
    button.type = "button";
    button.addEventListener("click", () => {
      remove();
      onAction();
    });
    box.append(button);
  }
  document.getElementById("toasts").append(box);
  if (kind !== "bad") setTimeout(remove, LIFETIME_MS);
  else box.addEventListener("click", remove);
  return remove;
}
