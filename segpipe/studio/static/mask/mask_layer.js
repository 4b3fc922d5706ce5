/**
 * Draws a mask that is being edited on the canvas over a photo, and the loupe beside the pointer.
 *
 * @typedef {import("./mask_editor.js").MaskEditor} MaskEditor
 * @typedef {import("../annotate/view.js").View} View
 */

import { drawDraft, drawPoints, drawScene } from "../annotate/draw.js";
import { shaded, shownWindow } from "./shade.js";

const LINE_COLOURS = { lasso: "#00e5ff", split: "#ff5252" };
const HALO = "rgba(0, 0, 0, .65)";
const LOUPE_PX = 168;
const LOUPE_ZOOM = 5;

export class MaskLayer {
  #seen = "";

  /**
   * @param {object} options
   * @param {MaskEditor} options.editor
   * @param {import("../annotate/candidates.js").Candidates} options.candidates
   * @param {() => any[]} options.others What else lies on the photo, as it is drawn.
   */
  constructor({ editor, candidates, others }) {
    Object.assign(this, { editor, candidates, others });
  }

  /** Draw it, or no more of it than has changed since the last time. */
  draw(/** @type {CanvasRenderingContext2D} */ context, /** @type {View} */ view, ratio) {
    const { editor, candidates } = this;
    const { canvas } = context;
    const screen = { scale: view.scale * ratio, x: view.x * ratio, y: view.y * ratio };
    const seen = JSON.stringify([screen, canvas.width, canvas.height]);
    const isPlain = !editor.line.length && !candidates.points.length;
    if (seen === this.#seen && isPlain && editor.dirty) {
      this.#shade(context, shownWindow(editor.dirty, screen, canvas), screen);
    } else {
      this.#drawAll(context, view, ratio, screen);
    }
    this.#seen = isPlain ? seen : "";
    editor.dirty = null;
  }

  /** All of it next time. */
  forget() {
    this.#seen = "";
  }

  #drawAll(context, view, ratio, screen) {
    const { editor, candidates } = this;
    const whole = { x1: 0, y1: 0, x2: context.canvas.width, y2: context.canvas.height };
    drawScene(context, { view, ratio, items: [], hasNames: false });
    this.#shade(context, whole, screen);
    for (const item of this.others()) drawDraft(context, { view, ratio, item, isStrong: false });
    if (candidates.shown) drawDraft(context, { view, ratio, item: { ...candidates.shown, look: "result" } });
    drawPoints(context, { view, ratio, points: candidates.points });
    if (editor.line.length) drawLine(context, view, ratio, editor.line, LINE_COLOURS[editor.tool]);
  }

  #shade(context, part, screen) {
    const [width, height] = [part.x2 - part.x1, part.y2 - part.y1];
    if (width < 1 || height < 1) return;
    const shades = shaded(this.editor.mask, screen, part);
    context.putImageData(new ImageData(shades, width, height), part.x1, part.y1);
  }
}

/**
 * Show what is under a place much larger, with the mask on it.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {object} what
 * @param {HTMLImageElement} what.image
 * @param {import("./bitmap.js").Bitmap} what.mask
 * @param {[number, number]} what.place Pixels of the photo.
 * @param {number} what.scale Screen pixels for a pixel of the photo, beside the loupe.
 */
export function drawLoupe(canvas, { image, mask, place, scale }) {
  canvas.width = canvas.height = LOUPE_PX;
  const context = canvas.getContext("2d");
  const zoom = Math.max(scale * LOUPE_ZOOM, 3);
  const view = { scale: zoom, x: LOUPE_PX / 2 - place[0] * zoom, y: LOUPE_PX / 2 - place[1] * zoom };
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#23282b";
  context.fillRect(0, 0, LOUPE_PX, LOUPE_PX);
  if (image.naturalWidth) context.drawImage(image, view.x, view.y, mask.width * zoom, mask.height * zoom);
  const shades = shaded(mask, view, { x1: 0, y1: 0, x2: LOUPE_PX, y2: LOUPE_PX });
  const tint = new OffscreenCanvas(LOUPE_PX, LOUPE_PX);
  tint.getContext("2d").putImageData(new ImageData(shades, LOUPE_PX, LOUPE_PX), 0, 0);
  context.drawImage(tint, 0, 0);
  for (const [colour, width] of [[HALO, 3], ["#ffffff", 1]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(LOUPE_PX / 2 - zoom / 2, LOUPE_PX / 2 - zoom / 2, zoom, zoom);
  }
}

function drawLine(context, view, ratio, line, colour) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  for (const [stroke, width] of [[HALO, 4], [colour, 2]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.beginPath();
    for (const [x, y] of line) context.lineTo(x * view.scale + view.x, y * view.scale + view.y);
    context.stroke();
  }
}
