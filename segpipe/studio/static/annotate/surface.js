/**
 * A photo with a canvas over it that are moved together.
 *
 * While somebody pans or zooms, both are moved by CSS alone, which costs the same whatever is drawn.
 * The canvas is larger than the stage, and is drawn anew, sharp, when the view has come to rest.
 *
 * @typedef {import("./view.js").View} View
 * @typedef {import("./view.js").Size} Size
 */

import { css, fit, inSight, isSame, limitsOf, redirected, zoomedAt } from "./view.js";

/** After the last movement, the canvas is drawn anew. */
export const REST_MS = 120;
/** The canvas is larger than the stage by this part on each side: 25 % in all. */
const MARGIN = 0.125;
/** More device pixels for a CSS pixel cost time and show nothing more. */
const LARGEST_RATIO = 2;

export class Surface {
  /** @type {View} */ view = { scale: 1, x: 0, y: 0 };
  /** @type {View} */ #drawn = { scale: 1, x: 0, y: 0 };
  /** @type {Size} */ stage = { width: 1, height: 1 };
  #frame = 0;
  #rest = 0;
  #isStale = true;

  /**
   * @param {HTMLElement} element The stage; it clips what is in it.
   * @param {HTMLImageElement} image
   * @param {Size} photo Pixels of the upright photo, whatever the picture that shows it has.
   * @param {(context: CanvasRenderingContext2D, view: View, ratio: number) => void} draw Is given
   *   the view of the canvas.
   * @param {(view: View) => void} [onRest] Is told when the view has come to rest.
   */
  constructor(element, image, photo, draw, onRest = () => {}) {
    this.element = element;
    this.image = image;
    this.photo = photo;
    this.draw = draw;
    this.onRest = onRest;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.context = this.canvas.getContext("2d");
    element.append(this.canvas);
    image.style.width = `${photo.width}px`;
    image.style.height = `${photo.height}px`;
    this.#measure();
    this.view = fit(this.stage, photo);
    this.observer = new ResizeObserver(() => this.#resized());
    this.observer.observe(element);
    this.redraw();
  }

  /** How far one may zoom. */
  get limits() {
    return limitsOf(this.stage, this.photo);
  }

  /** Show the photo in another way. */
  show(/** @type {View} */ view) {
    this.view = inSight(view, this.stage, this.photo);
    this.#later();
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => {
      this.#isStale = true;
      this.#later();
      this.onRest(this.view);
    }, REST_MS);
  }

  /** Zoom in or out about a place on the stage; its middle by default. */
  zoom(factor, at = [this.stage.width / 2, this.stage.height / 2]) {
    this.show(zoomedAt(this.view, at, factor, this.limits));
  }

  /** Draw the canvas anew, soon: what is on it has changed. */
  redraw() {
    this.#isStale = true;
    this.#later();
  }

  /** Where an event is on the stage. */
  placeOf(/** @type {MouseEvent} */ event) {
    const { left, top } = this.element.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#rest);
    this.canvas.width = this.canvas.height = 0;
    this.canvas.remove();
  }

  #later() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #paint() {
    const margin = [this.stage.width * MARGIN, this.stage.height * MARGIN];
    if (this.#isStale) {
      this.#isStale = false;
      const ratio = Math.min(devicePixelRatio || 1, LARGEST_RATIO);
      this.#sizeCanvas(ratio);
      const { scale, x, y } = this.view;
      this.draw(this.context, { scale, x: x + margin[0], y: y + margin[1] }, ratio);
      this.#drawn = this.view;
    }
    const origin = [-margin[0], -margin[1]];
    const moved = isSame(this.#drawn, this.view)
      ? { scale: 1, x: origin[0], y: origin[1] }
      : redirected(this.#drawn, this.view, origin);
    this.canvas.style.transform = css(moved);
    this.image.style.transform = css(this.view);
  }

  #sizeCanvas(ratio) {
    const width = this.stage.width * (1 + 2 * MARGIN);
    const height = this.stage.height * (1 + 2 * MARGIN);
    const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width === across && this.canvas.height === down) return;
    this.canvas.width = across;
    this.canvas.height = down;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
  }

  #measure() {
    const { width, height } = this.element.getBoundingClientRect();
    this.stage = { width: Math.max(width, 1), height: Math.max(height, 1) };
  }

  #resized() {
    const before = fit(this.stage, this.photo);
    const isFitted = isSame(this.view, before);
    this.#measure();
    this.view = isFitted ? fit(this.stage, this.photo) : inSight(this.view, this.stage, this.photo);
    this.redraw();
  }
}
