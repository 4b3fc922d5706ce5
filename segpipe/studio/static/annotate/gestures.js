/**
 * What fingers, mouse and wheel do on a stage: one draws, two move the photo.
 *
 * @typedef {import("./surface.js").Surface} Surface
 * @typedef {{place: [number, number], isNegative: boolean, isTouch: boolean}} Stroke `place` in
 *   pixels of the upright photo.
 * @typedef {object} Drawing
 * @property {(stroke: Stroke) => void} begin
 * @property {(stroke: Stroke) => void} move
 * @property {(stroke: Stroke) => void} end
 * @property {() => void} cancel
 * @property {(stroke: Stroke) => void} hover
 */

import { panned, pinched, toPhoto } from "./view.js";

const WHEEL_STEP = 0.0015;
const LARGEST_WHEEL = 240;
const LINE_PX = 16;
const MIDDLE_BUTTON = 1;
const RIGHT_BUTTON = 2;

/**
 * Listen on a surface.
 *
 * @param {Surface} surface
 * @param {Drawing} drawing
 * @param {() => boolean} isPanning Whether one finger or the main button moves the photo now.
 */
export function listen(surface, drawing, isPanning) {
  const { element } = surface;
  /** @type {Map<number, [number, number]>} */
  const fingers = new Map();
  /** @type {"draw" | "pan" | "pinch" | "rest" | null} */
  let doing = null;
  let isNegative = false;

  const strokeOf = (event) => ({
    place: toPhoto(surface.view, surface.placeOf(event)),
    isNegative: isNegative || event.altKey,
    isTouch: event.pointerType === "touch",
  });

  element.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, a, input")) return;
    event.preventDefault();
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, surface.placeOf(event));
    if (fingers.size === 2) {
      if (doing === "draw") drawing.cancel();
      doing = "pinch";
    } else if (fingers.size === 1) {
      const moves = event.button === MIDDLE_BUTTON || (isPanning() && event.button !== RIGHT_BUTTON);
      doing = moves ? "pan" : "draw";
      isNegative = event.button === RIGHT_BUTTON;
      if (doing === "draw") drawing.begin(strokeOf(event));
    }
  });

  element.addEventListener("pointermove", (event) => {
    const now = surface.placeOf(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      drawing.hover(strokeOf(event));
      return;
    }
    if (doing === "pinch" && fingers.size === 2) {
      const pair = () => /** @type {any} */ ([...fingers.values()]);
      const from = pair();
      fingers.set(event.pointerId, now);
      surface.show(pinched(surface.view, from, pair(), surface.limits));
      return;
    }
    fingers.set(event.pointerId, now);
    if (doing === "pan") surface.show(panned(surface.view, now[0] - before[0], now[1] - before[1]));
    if (doing === "draw") drawing.move(strokeOf(event));
  });

  const lift = (event, isCancelled) => {
    if (!fingers.delete(event.pointerId)) return;
    if (doing === "draw") {
      if (isCancelled) drawing.cancel();
      else drawing.end(strokeOf(event));
    }
    // The finger that stays after a pinch draws nothing.
    doing = fingers.size ? "rest" : null;
    if (!fingers.size) isNegative = false;
  };
  element.addEventListener("pointerup", (event) => lift(event, false));
  element.addEventListener("pointercancel", (event) => lift(event, true));
  element.addEventListener("contextmenu", (event) => event.preventDefault());

  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE_PX;
      const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
      if (event.shiftKey) {
        surface.show(panned(surface.view, -(dx || dy), 0));
        return;
      }
      const turned = Math.max(-LARGEST_WHEEL, Math.min(dy, LARGEST_WHEEL));
      surface.zoom(Math.exp(-turned * WHEEL_STEP), surface.placeOf(event));
    },
    { passive: false },
  );
}
