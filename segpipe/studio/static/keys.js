// Single-key shortcuts: a table of names, which people may change or switch off.

const STORE = "segpipe.keys";
const OFF = "segpipe.keys.off";

/**
 * @typedef {{name: string, title: string, key: string, run: () => void, when?: () => boolean}} Shortcut
 *   `when` says whether it means anything now; `key` as in KeyboardEvent.key, with "Shift+", "Control+", "Alt+" before it; "g d" is two keys.
 */

/**
 * The key that an event means, in the words of the table.
 * @param {{key: string, ctrlKey?: boolean, metaKey?: boolean, altKey?: boolean, shiftKey?: boolean}} event
 */
export function keyOf(event) {
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Control");
  if (event.altKey) parts.push("Alt");
  // A shifted character is another character already.
  if (event.shiftKey && event.key.length > 1) parts.push("Shift");
  return [...parts, event.key].join("+");
}

/** Whether somebody is writing, so that keys are letters. */
export function isWriting(target) {
  if (!target || !target.closest) return false;
  return Boolean(target.closest("input:not([type=checkbox]):not([type=radio]):not([type=range]), textarea, select, [contenteditable]"));
}

/** The table of a page, with what people changed. */
export class Keys {
  /** @param {Storage} storage Where changes are kept. */
  constructor(storage) {
    this.storage = storage;
    this.shortcuts = new Map();
    this.before = "";
  }

  /** @param {Shortcut} shortcut */
  add(shortcut) {
    this.shortcuts.set(shortcut.name, shortcut);
  }

  get isOff() {
    return this.storage.getItem(OFF) === "yes";
  }

  set isOff(off) {
    this.storage.setItem(OFF, off ? "yes" : "no");
  }

  changed() {
    try {
      return JSON.parse(this.storage.getItem(STORE) ?? "{}");
    } catch {
      return {};
    }
  }

  /** The key of a shortcut now. */
  keyFor(name) {
    return this.changed()[name] ?? this.shortcuts.get(name)?.key ?? "";
  }

  /** Change a key; an empty one switches the shortcut off. */
  change(name, key) {
    this.storage.setItem(STORE, JSON.stringify({ ...this.changed(), [name]: key }));
  }

  reset() {
    this.storage.removeItem(STORE);
  }

  /**
   * The shortcut that a key means; of two keys after each other the second counts with the first.
   * @param {string} key
   * @returns {Shortcut | undefined}
   */
  find(key) {
    const both = this.before ? `${this.before} ${key}` : key;
    const present = [...this.shortcuts.values()].filter(({ when }) => !when || when());
    const found = present.find(({ name }) => this.keyFor(name) === both);
    const begins = present.some(({ name }) => this.keyFor(name).startsWith(`${key} `));
    this.before = !found && begins ? key : "";
    return found;
  }

  /** Listen on a page. */
  listen(target) {
    target.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || event.isComposing || isWriting(event.target) || this.isOff) return;
      if (document.querySelector("dialog[open]")) return;
      const shortcut = this.find(keyOf(event));
      if (!shortcut) return;
      event.preventDefault();
      shortcut.run();
    });
  }
}

/** The table of this page. Modules add to it. */
export const keys = new Keys(globalThis.localStorage);
