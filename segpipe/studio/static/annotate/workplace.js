/**
 * A photo to draw on: the surface, what lies on it, undo, and saving; knows no buttons.
 *
 * @typedef {import("./prompts.js").Annotation} Annotation
 * @typedef {import("./prompts.js").Operation} Operation
 */

import { Candidates } from "./candidates.js";
import { drawCross, drawDraft, drawPoints, drawScene } from "./draw.js";
import { Editor } from "./editor.js";
import { listen } from "./gestures.js";
import { History } from "./history.js";
import { isNegative } from "./panel.js";
import { shapeOf } from "./prompts.js";
import { Surface } from "./surface.js";
import { fit, toPhoto } from "./view.js";

/** Names in the picture are a help while they are few. */
const MOST_NAMES = 300;

export class Workplace extends EventTarget {
  history = new History();
  isShowingFound = true;
  /** What a run has found, with outlines. @type {any[]} */ found = [];
  /** What a preview would find. @type {any[]} */ preview = [];
  isSpaceDown = false;
  /** While the mask of an item is being mended. @type {import("../mask/mask_session.js").MaskSession | null} */ mending = null;
  /** @type {WeakMap<Annotation, any>} */ #drawn = new WeakMap();
  #outlines = new Map();

  /**
   * @param {object} options
   * @param {any} options.facts What the page came with.
   * @param {HTMLElement} options.stage
   * @param {HTMLImageElement} options.image
   * @param {import("./sync.js").PromptSync} options.sync
   * @param {(points: object[]) => Promise<any[]>} options.askCandidates
   */
  constructor({ facts, stage, image, sync, askCandidates }) {
    super();
    Object.assign(this, { facts, sync });
    const draw = (context, view, ratio) => this.#draw(context, view, ratio);
    this.surface = new Surface(stage, image, facts.photo, draw, () => this.#rest());
    this.editor = new Editor({
      photo: facts.photo,
      mode: facts.mode,
      items: () => this.items,
      scale: () => this.surface.view.scale,
      commit: (name, operations) => this.commit(name, operations),
    });
    this.candidates = new Candidates(askCandidates);
    this.candidates.addEventListener("change", () => this.changed());
    sync.addEventListener("change", () => this.changed());
    const drawing = this.#drawing();
    const now = (name) => (stroke) => (this.mending?.drawing ?? drawing)[name](stroke);
    const isPanning = () => this.mending?.isPanning ?? (this.editor.tool === "pan" || this.isSpaceDown);
    listen(this.surface, Object.fromEntries(Object.keys(drawing).map((name) => [name, now(name)])), isPanning);
  }

  /** What is drawn in this mode, each with how it looks; unchanged ones stay the same objects. */
  get items() {
    return this.sync.prompts.annotations
      .filter((each) => each.mode === this.facts.mode && (this.isShowingFound || each.source !== "model"))
      .map((each) => this.#itemOf(each));
  }

  /** Of these, what people have drawn. @returns {Annotation[]} */
  get mine() {
    return this.items.filter((each) => each.source !== "model");
  }

  /** Do something that can be taken back. */
  commit(name, /** @type {Operation[]} */ operations) {
    if (!this.facts.mayDraw) {
      this.dispatchEvent(new CustomEvent("refused", { detail: "You may look at this photo, and not draw on it." }));
      return;
    }
    this.history.push({ name, operations });
    this.sync.push(operations);
    this.dispatchEvent(new CustomEvent("done", { detail: name }));
  }

  /** See the whole photo. */
  fit() {
    this.surface.show(fit(this.surface.stage, this.facts.photo));
  }

  undo() {
    const name = this.history.next?.name;
    this.sync.push(this.history.undo());
    return name;
  }

  redo() {
    const name = this.history.nextRedo?.name;
    this.sync.push(this.history.redo());
    return name;
  }

  /** What a run has found, so that model-made boxes have their outlines. */
  showFound(/** @type {any[]} */ found) {
    this.found = found.map(asResult);
    this.#outlines = new Map(found.map((each) => [JSON.stringify(each.box), each]));
    this.#drawn = new WeakMap();
    this.changed();
  }

  /** What a preview would find; none takes it away. */
  showPreview(/** @type {any[]} */ items) {
    this.preview = items.map(asResult);
    this.changed();
  }

  /** Make something out of what a run has found. */
  use(/** @type {Annotation} */ annotation, mode, promptType) {
    if (!annotation) return;
    const { box, category } = annotation;
    this.editor.add(shapeOf({ id: "", mode, prompt_type: promptType, box, category }));
  }

  /** Take the outline that is shown of some points: as a box, as the mode has it. */
  takeReading() {
    const reading = this.candidates.shown;
    if (!reading) return;
    this.editor.addBox(reading.box);
    this.candidates.clear();
  }

  /** Let go of what takes memory. */
  close() {
    this.surface.close();
    this.surface.image.removeAttribute("src");
  }

  /** Leave what one is in the middle of, or let go of what is picked. */
  escape() {
    if (this.candidates.points.length) this.candidates.clear();
    else this.editor.escape();
  }

  /** Something looks otherwise now. */
  changed() {
    this.surface.redraw();
    this.dispatchEvent(new Event("change"));
  }

  #itemOf(/** @type {Annotation} */ annotation) {
    let item = this.#drawn.get(annotation);
    if (!item) {
      const outline = annotation.source === "model" && this.#outlines.get(JSON.stringify(annotation.box));
      const look = annotation.source === "model" ? "model" : isNegative(annotation) ? "negative" : "user";
      const name = annotation.category ?? (outline && outline.label) ?? "";
      item = { ...annotation, look, name, path: (outline && outline.path) || undefined };
      this.#drawn.set(annotation, item);
    }
    return item;
  }

  #draw(context, view, ratio) {
    if (this.mending) {
      this.mending.draw(context, view, ratio);
      return;
    }
    const { editor, candidates } = this;
    const draft = editor.draft;
    const results = this.isShowingFound && this.facts.mode === "inside_box" ? this.found : [];
    // What a preview would find takes the place of what the last run has found.
    const drawn = this.preview.length ? this.mine : this.items;
    const shown = this.preview.length ? this.preview : results;
    const items = [...shown, ...drawn.map((each) => (draft?.id === each.id ? { ...each, ...draft } : each))];
    const picked = editor.picked;
    const hasNames = items.length <= MOST_NAMES;
    drawScene(context, { view, ratio, items, picked, pointed: editor.pointed, hasNames });
    if (draft && !draft.id) {
      const look = draft.isNegative ? "negative" : "user";
      drawDraft(context, { view, ratio, item: { box: draft.box, look } });
    }
    const reading = candidates.shown;
    if (reading) drawDraft(context, { view, ratio, item: { ...reading, look: "result" } });
    drawPoints(context, { view, ratio, points: candidates.points });
    if (editor.cross) drawCross(context, { view, ratio, place: editor.cross });
  }

  #drawing() {
    const { editor } = this;
    const isMagic = () => editor.tool === "magic";
    return {
      begin: (stroke) => {
        if (!isMagic()) editor.begin(stroke);
        this.#strokeChanged();
      },
      move: (stroke) => {
        editor.move(stroke);
        this.surface.redraw();
      },
      end: (stroke) => {
        if (isMagic()) this.candidates.add(stroke.place, !(stroke.isNegative || editor.isNegative));
        else editor.end(stroke);
        this.changed();
      },
      cancel: () => {
        editor.cancel();
        this.changed();
      },
      hover: (stroke) => {
        if (editor.hover(stroke)) this.#strokeChanged();
      },
    };
  }

  #strokeChanged() {
    this.surface.redraw();
    this.surface.element.dataset.over = String(Boolean(this.editor.pointed));
  }

  #rest() {
    this.dispatchEvent(new CustomEvent("rest", { detail: this.surface.view }));
  }

  /** The middle of what is seen, in pixels of the photo. */
  get middle() {
    const { view, stage } = this.surface;
    return toPhoto(view, [stage.width / 2, stage.height / 2]);
  }
}

/** What was found as it is drawn. */
function asResult(found, index) {
  return { ...found, id: `result-${index}`, look: "result", name: found.label ?? "", path: found.path || undefined };
}
