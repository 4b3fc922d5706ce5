/**
 * On the drawing page: mends the mask of what a run has found, as reviewers do.
 *
 * @typedef {import("./workplace.js").Workplace} Workplace
 */

import { LoadedPhotos } from "../review/loaded_photos.js";
import { mendItem } from "../review/mend_item.js";
import { toast } from "../toasts.js";
import { drawStatus } from "./panel.js";

export class Mender {
  #isBeginning = false;

  /**
   * @param {object} options
   * @param {Workplace} options.work
   * @param {HTMLElement} options.tools
   * @param {HTMLElement} options.status Where it is said how saving goes.
   * @param {(text: string) => void} options.say
   */
  constructor({ work, tools, status, say }) {
    Object.assign(this, { work, tools, say });
    const tell = (kind, detail) => {
      if (kind === "status") drawStatus(status, this.loaded.status);
      if (kind === "refused") toast(`Not saved: ${detail}`, { kind: "bad" });
      if (kind !== "conflict") return;
      detail.sync.resolve(false);
      toast("Somebody else has decided about the same item.", { kind: "bad" });
    };
    this.loaded = new LoadedPhotos(work.facts.mode, tell);
  }

  /** Mend what a run has found in a box. */
  async begin(/** @type {number[] | undefined} */ box) {
    const { work, tools, say } = this;
    if (!box || work.mending || this.#isBeginning) return;
    this.#isBeginning = true;
    try {
      const loaded = await this.loaded.load(work.facts);
      await this.loaded.refresh(work.facts);
      const item = loaded.items.find((each) => isSameBox(each.box, box));
      if (!item) throw new Error("A later run has found something else here: load the page again.");
      work.mending = await mendItem({
        loaded,
        mode: work.facts.mode,
        key: item.key,
        surface: work.surface,
        tools,
        photo: work.facts.photo,
        drawn: () => loaded.items.filter(({ state }) => state !== "superseded").map(drawnOf),
        say,
        onEnd: (operations) => this.#end(operations.length > 0),
      });
      work.changed();
    } catch (error) {
      toast(error.message, { kind: "bad" });
    } finally {
      this.#isBeginning = false;
    }
  }

  close() {
    this.loaded.close();
  }

  async #end(isKept) {
    this.work.mending = null;
    this.work.changed();
    await this.loaded.flush();
    if (isKept) toast("The mask is kept: the next run cuts the item out by it.");
  }
}

function isSameBox(one, other) {
  return one.every((value, index) => value === other[index]);
}

function drawnOf(item) {
  return { ...item, id: item.key, look: "model", path: item.path || undefined };
}
