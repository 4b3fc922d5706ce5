/**
 * What strokes and keys come to: a state and the operations of each finished gesture; no DOM.
 *
 * @typedef {import("./prompts.js").Annotation} Annotation
 * @typedef {import("./prompts.js").Operation} Operation
 * @typedef {import("./prompts.js").Shape} Shape
 * @typedef {import("./scene.js").Box} Box
 * @typedef {import("./scene.js").Place} Place
 * @typedef {import("./scene.js").Size} Size
 * @typedef {"select" | "box" | "point" | "pan"} Tool
 */

import { newId, shapeOf } from "./prompts.js";
import { boxBetween, handleAt, hits, movedBox, nextHit, placed, resizedBox } from "./scene.js";

/** A stroke shorter than this, on the stage, is a click. */
const CLICK_PX = 4;
const REACH_PX = { mouse: 7, touch: 18 };
/** Boxes smaller than this on the photo were not meant. */
const LEAST_BOX_PX = 2;

export class Editor {
  /** @type {Tool} */ tool = "box";
  /** Whether what is drawn says what to leave out, without a key or the right button. */
  isNegative = false;
  /** @type {string | null} */ picked = null;
  /** @type {string | null} */ pointed = null;
  /** What is being drawn or moved, before it is finished. @type {any} */ draft = null;
  /** The cross of who uses the keys. @type {Place | null} */ cross = null;
  /** The first corner of a box that is drawn with keys. @type {Place | null} */ corner = null;
  #stroke = null;

  /**
   * @param {object} surroundings
   * @param {Size} surroundings.photo
   * @param {"find_all" | "inside_box"} surroundings.mode
   * @param {() => Annotation[]} surroundings.items What is drawn in this mode now.
   * @param {() => number} surroundings.scale CSS pixels for a pixel of the photo.
   * @param {(name: string, operations: Operation[]) => void} surroundings.commit
   */
  constructor({ photo, mode, items, scale, commit }) {
    Object.assign(this, { photo, mode, items, scale, commit });
  }

  /** The item that is picked, or null. @returns {Annotation | null} */
  get chosen() {
    return this.items().find((each) => each.id === this.picked) ?? null;
  }

  /** What a box says that is drawn now. @returns {Shape["prompt_type"]} */
  boxType(isNegative) {
    if (this.mode === "inside_box") return "segment";
    return isNegative ? "negative_exemplar" : "positive_exemplar";
  }

  begin({ place, isNegative, isTouch }) {
    const reach = (isTouch ? REACH_PX.touch : REACH_PX.mouse) / this.scale();
    const chosen = this.chosen;
    const isMine = chosen && chosen.source !== "model";
    const handle = isMine && chosen.box && this.tool === "select" ? handleAt(chosen.box, place, reach) : null;
    const found = hits(this.items(), place, reach);
    const grabbed = found.find((each) => each.id === this.picked) ?? null;
    const isHeld = isMine && this.tool === "select" && !isNegative && (handle || grabbed);
    const doing = isHeld ? (handle ? "resize" : "move") : this.tool === "point" ? "point" : "box";
    this.#stroke = { doing, handle, start: place, found, isNegative: isNegative || this.isNegative, right: isNegative };
    this.cross = null;
    this.corner = null;
  }

  move({ place }) {
    const stroke = this.#stroke;
    if (!stroke) return;
    if (stroke.doing === "box") {
      // Selecting with the main button draws nothing; the right one draws in every tool.
      const draws = this.tool === "box" || stroke.right;
      const box = draws && boxBetween(stroke.start, place, this.photo, 0);
      this.draft = box && this.#isFar(place) ? { box, isNegative: stroke.isNegative } : null;
    } else if (stroke.doing !== "point" && this.#isFar(place)) {
      this.draft = { id: this.picked, ...this.#moved(place) };
    }
  }

  end(stroke) {
    const { doing, found, isNegative } = this.#stroke ?? {};
    this.move(stroke);
    const draft = this.draft;
    const isFar = this.#stroke && this.#isFar(stroke.place);
    this.cancel();
    if (!doing) return;
    if (doing === "point") this.addPoint(stroke.place, isNegative);
    else if (draft?.id) this.change("Move", draft.id, { box: draft.box, point: draft.point });
    else if (draft?.box) this.addBox(draft.box, isNegative);
    else if (!isFar) this.picked = nextHit(found, this.picked)?.id ?? null;
  }

  cancel() {
    this.#stroke = null;
    this.draft = null;
    this.corner = null;
  }

  hover({ place }) {
    const reach = REACH_PX.mouse / this.scale();
    const before = this.pointed;
    this.pointed = hits(this.items(), place, reach)[0]?.id ?? null;
    return before !== this.pointed;
  }

  /** Draw a box. */
  addBox(/** @type {Box} */ box, isNegative = this.isNegative) {
    if (box[2] - box[0] < LEAST_BOX_PX || box[3] - box[1] < LEAST_BOX_PX) return;
    this.add({ mode: this.mode, prompt_type: this.boxType(isNegative), box });
  }

  /** Place a point on an item, or off it. */
  addPoint(/** @type {Place} */ place, isNegative = this.isNegative) {
    const point = placed(place, this.photo);
    this.add({ mode: this.mode, prompt_type: "point", point, label: isNegative ? 0 : 1 });
  }

  add(/** @type {Shape} */ shape) {
    const id = newId();
    this.picked = shape.mode === this.mode ? id : this.picked;
    const noun = shape.point ? "Point" : shape.prompt_type.endsWith("exemplar") ? "Example" : "Box";
    this.commit(noun, [{ op: "add", id, to: shape }]);
  }

  /** Change what is picked, or another annotation. */
  change(name, id, /** @type {Partial<Shape>} */ changes) {
    const present = this.items().find((each) => each.id === id);
    if (!present || present.source === "model") return;
    const was = shapeOf(present);
    const to = shapeOf({ ...present, ...withoutUndefined(changes) });
    this.commit(name, [{ op: "change", id, was, to }]);
  }

  /** Say the opposite: what was to be found is to be left out. */
  turnRound() {
    const chosen = this.chosen;
    if (chosen?.point) this.change("Turn round", chosen.id, { label: chosen.label ? 0 : 1 });
    else if (chosen?.prompt_type === "positive_exemplar")
      this.change("Turn round", chosen.id, { prompt_type: "negative_exemplar" });
    else if (chosen?.prompt_type === "negative_exemplar")
      this.change("Turn round", chosen.id, { prompt_type: "positive_exemplar" });
  }

  /** Take away what is picked. */
  remove(id = this.picked) {
    const items = this.items();
    const place = items.findIndex((each) => each.id === id);
    if (place < 0 || items[place].source === "model") return;
    this.commit("Remove", [{ op: "remove", id, was: shapeOf(items[place]) }]);
    const rest = items.filter((each) => each.id !== id && each.source !== "model");
    this.picked = rest[Math.min(place, rest.length - 1)]?.id ?? null;
  }

  /** Pick the next annotation, or the one before. */
  pickNext(step = 1) {
    const items = this.items();
    if (!items.length) return;
    const place = items.findIndex((each) => each.id === this.picked);
    const from = place < 0 && step < 0 ? 0 : place;
    this.picked = items[(from + step + items.length) % items.length].id;
  }

  /** Move what is picked, or the cross. */
  nudge(dx, dy) {
    const chosen = this.chosen;
    if (this.cross || !chosen || chosen.source === "model") {
      const [x, y] = this.cross ?? [this.photo.width / 2, this.photo.height / 2];
      this.cross = placed([x + dx, y + dy], this.photo);
      const box = this.corner && boxBetween(this.corner, this.cross, this.photo, 0);
      this.draft = box ? { box, isNegative: this.isNegative } : null;
    } else if (chosen.box) {
      this.change("Move", chosen.id, { box: movedBox(chosen.box, dx, dy, this.photo) });
    } else {
      this.change("Move", chosen.id, { point: placed([chosen.point[0] + dx, chosen.point[1] + dy], this.photo) });
    }
  }

  /** Make what is picked larger or smaller at its lower right corner. */
  grow(dx, dy) {
    const chosen = this.chosen;
    if (!chosen?.box || chosen.source === "model") return;
    const corner = [chosen.box[2] + dx, chosen.box[3] + dy];
    this.change("Resize", chosen.id, { box: resizedBox(chosen.box, "se", corner, this.photo) });
  }

  /** What Enter does: begin with the cross, set a corner, finish a box, place a point. */
  enter(/** @type {Place} */ middle) {
    if (!this.cross) {
      this.cross = placed(middle, this.photo);
      this.picked = null;
    } else if (this.tool === "point") {
      this.addPoint(this.cross);
      this.picked = null;
    } else if (!this.corner) {
      this.corner = this.cross;
    } else {
      const box = boxBetween(this.corner, this.cross, this.photo);
      this.corner = null;
      this.draft = null;
      if (box) {
        this.addBox(box);
        this.cross = null;
      }
    }
  }

  /** What Escape does: leave the gesture, then the cross, then what is picked. */
  escape() {
    if (this.#stroke || this.corner) this.cancel();
    else if (this.cross) this.cross = null;
    else this.picked = null;
  }

  #isFar([x, y]) {
    const [sx, sy] = this.#stroke.start;
    return Math.hypot(x - sx, y - sy) * this.scale() >= CLICK_PX;
  }

  #moved(/** @type {Place} */ place) {
    const { handle, start } = this.#stroke;
    const chosen = this.chosen;
    if (!chosen) return {};
    const [dx, dy] = [place[0] - start[0], place[1] - start[1]];
    if (chosen.point) return { point: placed([chosen.point[0] + dx, chosen.point[1] + dy], this.photo) };
    if (!handle) return { box: movedBox(chosen.box, dx, dy, this.photo) };
    return { box: resizedBox(chosen.box, handle, place, this.photo) };
  }
}

function withoutUndefined(/** @type {object} */ values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
