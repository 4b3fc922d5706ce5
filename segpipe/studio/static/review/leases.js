/**
 * Which items this tab is about to show, so that nobody else is shown them, and which others have.
 *
 * @typedef {{deal: string, image: string, key: string}} Item
 */

import { ask } from "./ask.js";

const MAX_TAB_CHARS = 64;

export class ItemLeases {
  /** Who has what. @type {Map<string, string>} */ #held = new Map();
  /** @type {Set<string>} */ #deals = new Set();
  #asked = "";

  /**
   * @param {string} mode
   * @param {string} tab A name that this tab made up.
   */
  constructor(mode, tab) {
    Object.assign(this, { mode, tab });
  }

  /** Who else looks at an item now, or undefined. */
  holderOf(/** @type {Item} */ item) {
    return this.#held.get(nameOf(item));
  }

  /** Take these items in place of what was taken before. */
  async take(/** @type {Item[]} */ wanted, isRenewal = false) {
    const asked = wanted.map(nameOf).join("\n");
    if (asked === this.#asked && !isRenewal) return;
    this.#asked = asked;
    const deals = new Set([...this.#deals, ...wanted.map(({ deal }) => deal)]);
    this.#deals = new Set(wanted.map(({ deal }) => deal));
    for (const deal of deals) {
      const mine = wanted.filter((item) => item.deal === deal);
      const { held } = await this.#put(deal, mine).catch(() => ({ held: [] }));
      for (const item of mine) this.#held.delete(nameOf(item));
      for (const each of held) this.#held.set(nameOf({ deal, ...each }), each.person);
    }
  }

  /** Give all back: the page is left. */
  release() {
    for (const deal of this.#deals) this.#put(deal, [], { keepalive: true }).catch(() => {});
  }

  #put(deal, /** @type {Item[]} */ items, options = {}) {
    const tab = `${this.tab} ${deal}`.slice(0, MAX_TAB_CHARS);
    const body = JSON.stringify({ tab, items: items.map(({ image, key }) => ({ image, key })) });
    const url = `/api/deals/${encodeURIComponent(deal)}/review/leases?mode=${this.mode}`;
    return ask(url, { method: "PUT", body, ...options });
  }
}

function nameOf({ deal, image, key }) {
  return `${deal} ${image} ${key}`;
}
