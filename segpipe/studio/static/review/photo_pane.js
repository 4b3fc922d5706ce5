/**
 * The whole photo of the item that is shown, with all of its items; and where an item is mended.
 *
 * @typedef {import("./desk.js").ReviewDesk} ReviewDesk
 */

import { drawDraft, drawScene } from "../annotate/draw.js";
import { listen } from "../annotate/gestures.js";
import { hits } from "../annotate/scene.js";
import { Surface } from "../annotate/surface.js";
import { fit, showing } from "../annotate/view.js";
import { picture, picturesOf } from "./close_up.js";
import { mendItem } from "./mend_item.js";

const SHOWN_SIDE = 1280;
const FRAME_PX = 6;
const LOOKS = { accepted: "result", rejected: "negative", edited: "user", added: "user" };

export class PhotoPane {
  /** @type {import("../mask/mask_session.js").MaskSession | null} */ session = null;
  #name = "";
  #isBeginning = false;

  /**
   * @param {object} options
   * @param {HTMLElement} options.place
   * @param {HTMLElement} options.tools
   * @param {ReviewDesk} options.desk
   * @param {(key: string) => void} options.onPick
   * @param {(isDecided: boolean) => void} options.onEnd After the item that is shown was mended.
   * @param {(text: string) => void} options.say
   */
  constructor(options) {
    Object.assign(this, options);
  }

  /** Show the photo of an item, and the item in it. */
  show(item) {
    const name = item ? `${item.deal}/${item.image}` : "";
    if (name !== this.#name) this.#replace(item, name);
    this.item = item;
    this.redraw();
  }

  redraw() {
    this.surface?.redraw();
  }

  /** The address of the pictures of a photo, in the size in which it is shown. */
  urlOf(item) {
    return `${picturesOf(item, this.#facts(item))}/${SHOWN_SIDE}`;
  }

  /** Mend an item, or draw a new one. */
  async mend(item, isNew = false) {
    if (this.#isBeginning) return;
    this.#isBeginning = true;
    try {
      await this.#sharpen(item);
      const session = await mendItem({
        loaded: this.desk.photoOf(item),
        mode: this.desk.mode,
        key: isNew ? null : item.key,
        surface: this.surface,
        tools: this.tools,
        photo: this.#facts(item),
        drawn: () => this.#drawn(item),
        say: this.say,
        onEnd: (operations) => this.#end(item, operations, isNew),
      });
      this.session = session;
      this.place.dataset.mending = "true";
      if (!isNew) this.surface.show(showing(this.surface.stage, item.box, this.surface.limits));
      this.redraw();
    } finally {
      this.#isBeginning = false;
    }
  }

  async #end(item, operations, isNew) {
    this.session = null;
    delete this.place.dataset.mending;
    this.surface.show(fit(this.surface.stage, this.#facts(item)));
    this.redraw();
    if (operations.length) {
      this.desk.commit("Mended", [{ deal: item.deal, image: item.image, operations }], true);
      await this.desk.refresh(item);
    }
    this.onEnd(operations.length > 0 && !isNew);
  }

  #facts(item) {
    return this.desk.photos.get(`${item.deal}/${item.image}`);
  }

  /** A stage of its own for each photo: nothing of the one before is left on it. */
  #replace(item, name) {
    this.#name = name;
    this.surface?.close();
    this.surface = null;
    this.place.replaceChildren();
    if (!item) return;
    const stage = Object.assign(document.createElement("div"), { className: "stage", tabIndex: 0 });
    stage.setAttribute("role", "application");
    stage.setAttribute("aria-label", `Photo ${this.#facts(item).name}`);
    const image = picture(this.urlOf(item));
    image.draggable = false;
    stage.append(image);
    this.place.append(stage);
    const draw = (context, view, ratio) => this.#draw(context, view, ratio);
    this.surface = new Surface(stage, image, this.#facts(item), draw);
    listen(this.surface, this.#drawing(), () => this.session?.isPanning ?? false);
  }

  #draw(context, view, ratio) {
    if (this.session) {
      this.session.draw(context, view, ratio);
      return;
    }
    const items = this.item ? this.#drawn(this.item) : [];
    drawScene(context, { view, ratio, items, picked: null, pointed: this.item?.key ?? null, hasNames: false });
    if (this.item) drawDraft(context, { view, ratio, item: { box: around(this.item.box, view.scale), look: "user" }, isStrong: false });
  }

  /** The items of a photo, as they look now. */
  #drawn(item) {
    const photo = this.desk.photoOf(item);
    if (!photo) return [];
    return photo.items
      .filter(({ state }) => state !== "superseded")
      .map((each) => {
        const drawn = (photo.drawn ??= new Map()).get(each.key) ?? { ...each, id: each.key, path: each.path || undefined };
        photo.drawn.set(each.key, drawn);
        drawn.look = LOOKS[this.desk.stateOf({ ...item, ...each })] ?? "model";
        return drawn;
      });
  }

  #drawing() {
    const own = {
      begin: () => {},
      move: () => {},
      cancel: () => {},
      hover: () => {},
      end: ({ place }) => {
        const hit = hits(this.#drawn(this.item), place)[0];
        if (hit) this.onPick(hit.id);
      },
    };
    const call = (name) => (stroke) => (this.session?.drawing ?? own)[name](stroke);
    return Object.fromEntries(Object.keys(own).map((name) => [name, call(name)]));
  }

  /** The photo in full: who mends looks closely. */
  async #sharpen(item) {
    const { image } = this.surface;
    const { width, height } = this.#facts(item);
    if (Math.max(width, height) <= SHOWN_SIDE || image.dataset.full) return;
    const whole = Object.assign(new Image(), { src: `${picturesOf(item, this.#facts(item))}/0` });
    image.dataset.full = "true";
    whole.decode().then(() => (image.src = whole.src), () => delete image.dataset.full);
  }
}

/** The frame around the item that is shown. */
function around([x1, y1, x2, y2], scale) {
  const margin = FRAME_PX / scale;
  return [x1 - margin, y1 - margin, x2 + margin, y2 + margin];
}
