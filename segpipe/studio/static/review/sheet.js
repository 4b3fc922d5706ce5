/**
 * A contact sheet: many items at once, of which the numbers of the bad ones are typed.
 *
 * @typedef {import("./desk.js").ReviewDesk} ReviewDesk
 */

import { closeUpUrl, preload, showCloseUp } from "./close_up.js";

export const SHEET_ITEMS = 24;
const SIDE_PX = 320;

/** The numbers that a text names, 1 and up; null when something else is in it. */
export function numbersIn(/** @type {string} */ text, /** @type {number} */ most) {
  const words = text.split(/[\s,;.]+/).filter(Boolean);
  const numbers = words.map(Number);
  const isFine = numbers.every((number) => Number.isInteger(number) && number >= 1 && number <= most);
  return isFine ? [...new Set(numbers)] : null;
}

export class ContactSheet {
  /** What is on it. @type {any[]} */ items = [];

  /**
   * @param {object} options
   * @param {ReviewDesk} options.desk
   * @param {HTMLElement} options.place
   */
  constructor({ desk, place }) {
    Object.assign(this, { desk, place });
    this.grid = place.querySelector("[data-sheet-items]");
    this.field = place.querySelector("[data-bad]");
    this.field.addEventListener("input", () => this.#mark());
  }

  /** Show the next items on which nobody has decided. */
  async show() {
    const { desk } = this;
    const ahead = desk.ahead(2 * SHEET_ITEMS, desk.place).filter((item) => desk.isOpen(item));
    this.items = ahead.slice(0, SHEET_ITEMS);
    await Promise.all(ahead.map((item) => desk.load(item)));
    const photoOf = (item) => desk.photos.get(`${item.deal}/${item.image}`);
    this.grid.replaceChildren(...this.items.map((item, index) => this.#figure(item, index, photoOf(item))));
    this.field.value = "";
    preload(ahead.slice(SHEET_ITEMS).map((item) => closeUpUrl(item, photoOf(item), SIDE_PX)));
    this.place.querySelector("[data-sheet-none]").hidden = this.items.length > 0;
    this.field.focus();
  }

  /** Reject those whose numbers are typed, accept the others. @returns {string} What is wrong; "" for nothing. */
  decide(/** @type {string} */ reason) {
    const bad = numbersIn(this.field.value, this.items.length);
    if (!bad) return `Type numbers from 1 to ${this.items.length}.`;
    const said = (index) =>
      bad.includes(index + 1) ? { verdict: "reject", reason } : { verdict: "accept" };
    const name = `A sheet of ${this.items.length}, ${bad.length} rejected`;
    this.desk.decideAll(name, this.items.map((item, index) => [item, said(index)]));
    return "";
  }

  #figure(item, index, photo) {
    const figure = document.createElement("figure");
    const found = this.desk.photoOf(item).items.find((each) => each.key === item.key) ?? item;
    const close = Object.assign(document.createElement("div"), { className: "close" });
    const image = showCloseUp(close, { item, photo, path: found.path ?? "", box: found.box, side: SIDE_PX });
    image.alt = `Item ${index + 1}`;
    const number = Object.assign(document.createElement("button"), { type: "button", textContent: String(index + 1) });
    number.setAttribute("aria-pressed", "false");
    number.setAttribute("aria-label", `Item ${index + 1} is bad`);
    number.addEventListener("click", () => this.#turn(index + 1));
    figure.append(close, number);
    return figure;
  }

  #turn(number) {
    const bad = numbersIn(this.field.value, this.items.length) ?? [];
    const now = bad.includes(number) ? bad.filter((each) => each !== number) : [...bad, number];
    this.field.value = now.join(" ");
    this.#mark();
    this.field.focus();
  }

  #mark() {
    const bad = numbersIn(this.field.value, this.items.length) ?? [];
    [...this.grid.children].forEach((figure, index) => {
      const isBad = bad.includes(index + 1);
      figure.classList.toggle("bad", isBad);
      figure.querySelector("button").setAttribute("aria-pressed", String(isBad));
    });
  }
}
