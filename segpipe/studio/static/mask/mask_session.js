/**
 * An item being mended on a photo: the tools, their keys, the pointer, and what is on the canvas.
 *
 * @typedef {import("./bitmap.js").MaskRuns} MaskRuns
 * @typedef {import("../annotate/surface.js").Surface} Surface
 */

import { Candidates } from "../annotate/candidates.js";
import { toStage } from "../annotate/view.js";
import { MaskEditor } from "./mask_editor.js";
import { drawLoupe, MaskLayer } from "./mask_layer.js";

const LARGE_STEP_PX = 10;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TOOLS = ["brush", "eraser", "lasso", "magic", "split", "join", "pan"];
const HINTS = {
  brush: "Paint what belongs to the item; Alt or the right button takes away.",
  eraser: "Take away what does not belong to the item.",
  lasso: "Draw around what belongs to the item; Alt or the right button: what does not.",
  magic: "Click on the item; Alt or the right button: not this part.",
  split: "Draw a line through the item: what it cuts off becomes an item of its own.",
  join: "Click on another item that is a part of this one.",
  pan: "Move the photo.",
};

export class MaskSession {
  isSpaceDown = false;
  #isLoupeOn = false;
  /** Where the pointer is, pixels of the photo. @type {[number, number]} */ #place;
  #isPenDown = false;
  #loupeFrame = 0;
  #stop = new AbortController();

  /**
   * @param {object} options
   * @param {Surface} options.surface
   * @param {HTMLElement} options.tools The buttons.
   * @param {{width: number, height: number}} options.photo
   * @param {MaskRuns | null} options.before
   * @param {{coarse?: MaskRuns | null, refined?: MaskRuns | null}} [options.made]
   * @param {() => any[]} options.others Other items, as they are drawn.
   * @param {(place: [number, number]) => string | null} options.hit The key of another item there.
   * @param {(key: string) => Promise<MaskRuns>} options.askMask
   * @param {(points: object[]) => Promise<any[]>} options.askCandidates Each with its mask.
   * @param {(editor: MaskEditor) => void} options.onChange After each step.
   * @param {(isKept: boolean) => void} options.onEnd
   * @param {(text: string) => void} options.say
   */
  constructor(options) {
    const { surface, photo, before, made, others, askCandidates } = options;
    Object.assign(this, options);
    this.editor = new MaskEditor({ photo, before, made });
    this.candidates = new Candidates(askCandidates);
    this.layer = new MaskLayer({ editor: this.editor, candidates: this.candidates, others });
    this.#place = [photo.width / 2, photo.height / 2];
    this.cursor = element("div", "brush-cursor");
    this.loupe = element("canvas", "loupe");
    this.loupe.hidden = true;
    surface.element.append(this.cursor, this.loupe);
    this.#listen();
    this.#show();
  }

  draw(context, view, ratio) {
    this.layer.draw(context, view, ratio);
    this.#showCursor();
  }

  /** What strokes do. @returns {import("../annotate/gestures.js").Drawing} */
  get drawing() {
    const { editor } = this;
    const isStroke = () => !["magic", "join"].includes(editor.tool);
    return {
      begin: (stroke) => {
        if (isStroke()) editor.begin(stroke);
        this.#moved(stroke.place);
      },
      move: (stroke) => {
        editor.move(stroke);
        this.#moved(stroke.place);
      },
      end: (stroke) => {
        if (isStroke()) editor.end(stroke);
        else this.#click(stroke);
        this.#moved(stroke.place);
      },
      cancel: () => {
        editor.cancel();
        this.#redraw();
      },
      hover: (stroke) => this.#moved(stroke.place, false),
    };
  }

  /** Whether one finger moves the photo. */
  get isPanning() {
    return this.editor.tool === "pan" || this.isSpaceDown;
  }

  /** Do what a button or a key says. */
  run(/** @type {string} */ name) {
    const { editor, candidates } = this;
    if (TOOLS.includes(name)) {
      if (name !== "magic") candidates.clear();
      editor.choose(/** @type {any} */ (name));
      this.say(HINTS[name]);
    } else if (name.startsWith("reading-")) candidates.choose(Number(name.slice(-1)) - 1);
    else this.#commands()[name]();
    this.#redraw();
  }

  close() {
    this.#stop.abort();
    cancelAnimationFrame(this.#loupeFrame);
    this.cursor.remove();
    this.loupe.remove();
  }

  #commands() {
    const { editor, made, before } = this;
    const take = (how) => () => {
      if (this.candidates.shown?.mask) editor.take(this.candidates.shown.mask, how);
      this.candidates.clear();
    };
    return {
      fill: () => editor.fillHoles(),
      islands: () => editor.dropIslands(),
      grow: () => editor.grow(1),
      shrink: () => editor.grow(-1),
      coarse: () => made?.coarse && editor.reset("Back to the coarse mask", made.coarse),
      refined: () => made?.refined && editor.reset("Back to the refined mask", made.refined),
      before: () => editor.reset("Back to before", before),
      undo: () => this.say(this.#told("Undone", editor.undo()) ?? "Nothing to undo"),
      redo: () => this.say(this.#told("Done again", editor.redo()) ?? "Nothing to do again"),
      smaller: () => editor.resize(-1),
      larger: () => editor.resize(1),
      loupe: () => (this.#isLoupeOn = !this.#isLoupeOn),
      take: take("replace"),
      add: take("add"),
      subtract: take("subtract"),
      done: () => this.onEnd(true),
      cancel: () => (this.candidates.points.length ? this.candidates.clear() : this.onEnd(false)),
    };
  }

  #told(what, name) {
    return name && `${what}: ${name}`;
  }

  #listen() {
    const { signal } = this.#stop;
    const { editor, candidates, surface } = this;
    const changed = () => {
      this.#redraw();
      this.#show();
    };
    editor.addEventListener("mask", ({ detail }) => {
      this.say(detail);
      changed();
      this.onChange(editor);
    });
    editor.addEventListener("tool", changed);
    editor.addEventListener("missed", () => this.say("The line does not cut the item apart."));
    candidates.addEventListener("change", changed);
    this.tools.addEventListener(
      "click",
      (event) => {
        const pressed = event.target.closest("[data-mask]");
        if (pressed) this.run(pressed.dataset.mask);
      },
      { signal },
    );
    surface.element.addEventListener("keydown", (event) => this.#keydown(event), { signal });
    surface.element.addEventListener("keyup", (event) => event.key === " " && (this.isSpaceDown = false), { signal });
    surface.element.addEventListener("pointerleave", () => (this.cursor.hidden = true), { signal });
  }

  /** Arrows move a pen, Enter puts it down and lifts it; with points and joining, Enter clicks. */
  #keydown(event) {
    const arrow = ARROWS[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const isClick = ["magic", "join"].includes(this.editor.tool);
    if (arrow) {
      const step = event.shiftKey ? LARGE_STEP_PX : 1;
      const place = this.#place.map((value, axis) => value + arrow[axis] * step);
      if (this.#isPenDown) this.editor.move({ place, isNegative: false });
      this.#moved(/** @type {any} */ (place));
    } else if (event.key === "Enter" && isClick) {
      this.#click({ place: this.#place, isNegative: event.shiftKey });
    } else if (event.key === "Enter") {
      const stroke = { place: this.#place, isNegative: false };
      if (this.#isPenDown) this.editor.end(stroke);
      else this.editor.begin(stroke);
      this.#isPenDown = !this.#isPenDown;
      this.say(this.#isPenDown ? "The pen is down" : "The pen is up");
    } else if (event.key === " ") {
      this.isSpaceDown = true;
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.#redraw();
  }

  async #click({ place, isNegative }) {
    if (this.editor.tool === "magic") {
      await this.candidates.add(place, !isNegative);
      return;
    }
    const key = this.hit(place);
    if (!key || this.editor.joined.includes(key)) {
      this.say("There is no other item.");
      return;
    }
    this.editor.joinWith(key, await this.askMask(key));
  }

  #moved(place, isDrawn = true) {
    this.#place = place;
    this.cursor.hidden = false;
    this.#showCursor();
    if (isDrawn) this.surface.redraw();
    if (this.#isLoupeOn) this.#loupeFrame ||= requestAnimationFrame(() => this.#showLoupe());
  }

  #redraw() {
    this.layer.forget();
    this.surface.redraw();
    this.#showCursor();
    if (this.#isLoupeOn || !this.loupe.hidden) this.#showLoupe();
  }

  #showCursor() {
    const { view } = this.surface;
    const [x, y] = toStage(view, this.#place);
    const isBrush = ["brush", "eraser"].includes(this.editor.tool);
    const side = isBrush ? Math.max(2 * this.editor.radius * view.scale, 4) : 8;
    Object.assign(this.cursor.style, { width: `${side}px`, height: `${side}px` });
    this.cursor.style.transform = `translate(${x - side / 2}px, ${y - side / 2}px)`;
  }

  #showLoupe() {
    this.#loupeFrame = 0;
    this.loupe.hidden = !this.#isLoupeOn;
    if (!this.#isLoupeOn) return;
    const { image, view } = this.surface;
    drawLoupe(this.loupe, { image, mask: this.editor.mask, place: this.#place, scale: view.scale });
  }

  /** Let the buttons say what is so. */
  #show() {
    const { editor, candidates, tools, made } = this;
    const one = (name) => tools.querySelector(`[data-mask="${name}"]`);
    for (const name of TOOLS) one(name).setAttribute("aria-pressed", String(editor.tool === name));
    one("loupe").setAttribute("aria-pressed", String(this.#isLoupeOn));
    one("undo").disabled = !editor.history.canUndo;
    one("redo").disabled = !editor.history.canRedo;
    one("coarse").disabled = !made?.coarse;
    one("refined").disabled = !made?.refined;
    tools.querySelector("[data-mask-size]").textContent = `${2 * editor.radius} px`;
    tools.querySelector("[data-mask-readings]").hidden = editor.tool !== "magic";
    tools.querySelector("[data-mask-asking]").textContent = candidates.isAsking
      ? "Asking the segmenter …"
      : candidates.points.length && !candidates.readings.length
        ? "Nothing is seen there."
        : "";
    for (let index = 0; index < 3; index += 1) {
      const choice = one(`reading-${index + 1}`);
      const reading = candidates.readings[index];
      choice.hidden = !reading;
      choice.textContent = reading ? `${index + 1}: ${Math.round(reading.score * 100)} %` : "";
      choice.setAttribute("aria-pressed", String(index === candidates.place));
    }
    for (const name of ["take", "add", "subtract"]) one(name).disabled = !candidates.readings.length;
  }
}


function element(tag, className) {
  const made = document.createElement(tag);
  made.className = className;
  made.setAttribute("aria-hidden", "true");
  return made;
}
