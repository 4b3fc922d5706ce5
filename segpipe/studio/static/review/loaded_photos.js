/**
 * The photos whose items are being looked at: their outlines, and what is decided about them.
 *
 * @typedef {{deal: string, image: string}} Named
 * @typedef {object} LoadedPhoto
 * @property {PromptSync} sync What is decided, saved or not.
 * @property {any[]} items With their outlines, and how each stood when they were read.
 * @property {import("./decisions.js").Review} first What was decided then.
 * @property {number} generation
 * @property {string} url Of the review.
 */

import { PromptSync } from "../annotate/sync.js";
import { ask } from "./ask.js";
import { reviewRules } from "./decisions.js";

export class LoadedPhotos {
  /** @type {Map<string, Promise<LoadedPhoto>>} */ #loading = new Map();
  /** @type {Map<string, LoadedPhoto>} */ #loaded = new Map();

  /**
   * @param {string} mode
   * @param {(kind: string, detail?: any) => void} tell Is told `status`, `others`, `refused` and
   *   `conflict`, as the sync of a document says them.
   */
  constructor(mode, tell) {
    Object.assign(this, { mode, tell });
  }

  /** A photo that is loaded, or null. @returns {LoadedPhoto | null} */
  of(/** @type {Named} */ photo) {
    return this.#loaded.get(nameOf(photo)) ?? null;
  }

  /** Load a photo, once. @returns {Promise<LoadedPhoto>} */
  load(/** @type {Named} */ photo) {
    const name = nameOf(photo);
    if (!this.#loading.has(name)) {
      const loading = this.#load(photo).catch((error) => {
        this.#loading.delete(name);
        throw error;
      });
      this.#loading.set(name, loading);
    }
    return this.#loading.get(name);
  }

  /** Read the items of a photo anew, once all is saved. */
  async refresh(/** @type {Named} */ photo) {
    const loaded = this.of(photo);
    if (!loaded || !(await loaded.sync.flush())) return;
    const { items, document } = await ask(`${loaded.url}/items?mode=${this.mode}`);
    Object.assign(loaded, { items, first: reviewRules.read(document), drawn: new Map() });
  }

  /** Save all now. @returns {Promise<boolean>} Whether all is saved. */
  async flush() {
    const all = await Promise.all([...this.#loaded.values()].map(({ sync }) => sync.flush()));
    return all.every(Boolean);
  }

  /** How saving goes: what is worst of all photos. */
  get status() {
    const all = [...this.#loaded.values()].map(({ sync }) => sync.status);
    const waiting = all.reduce((sum, each) => sum + each.waiting, 0);
    return { state: "saved", detail: "", ...all.find(({ state }) => state !== "saved"), waiting };
  }

  close() {
    for (const { sync } of this.#loaded.values()) sync.close();
  }

  async #load({ deal, image }) {
    const url = `/api/deals/${encodeURIComponent(deal)}/photos/${encodeURIComponent(image)}/review`;
    const { items, generation, document } = await ask(`${url}/items?mode=${this.mode}`);
    const first = reviewRules.read(document);
    const sync = new PromptSync({ url: `${url}?mode=${this.mode}`, document: first, rules: reviewRules, pollMs: 0 });
    const loaded = { sync, items, generation, first, url };
    this.#loaded.set(nameOf({ deal, image }), loaded);
    sync.addEventListener("status", () => this.tell("status"));
    sync.addEventListener("others", ({ detail }) => this.tell("others", detail));
    sync.addEventListener("refused", ({ detail }) => this.tell("refused", detail));
    sync.addEventListener("conflict", ({ detail }) => this.tell("conflict", { ...detail, sync }));
    return loaded;
  }
}

function nameOf({ deal, image }) {
  return `${deal}/${image}`;
}
