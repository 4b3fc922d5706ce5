/**
 * Draws annotations and outlines on a canvas.
 *
 * @typedef {import("./view.js").View} View
 * @typedef {import("./scene.js").Item} Item
 * @typedef {"user" | "negative" | "model" | "result"} Look
 * @typedef {Item & {look: Look, positive?: boolean, name?: string}} DrawnItem
 */

import { HANDLES, handlePlace } from "./scene.js";

/** Colours that are told apart on any photo, also by people who see few colours. */
export const COLOURS = {
  user: "#00e5ff",
  negative: "#ff5252",
  model: "#ffd740",
  result: "#69f0ae",
};
const DASHES = { user: [], negative: [], model: [6, 4], result: [] };
const HALO = "rgba(0, 0, 0, .65)";
const POINT_PX = 6;
const HANDLE_PX = 8;
const FONT = "600 12px system-ui, sans-serif";
const LABEL_PX = 18;

/** @type {WeakMap<object, {path: string, line: Path2D}>} */
const linesOf = new WeakMap();

/**
 * Draw a scene.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {object} scene
 * @param {View} scene.view For the canvas in CSS pixels.
 * @param {number} scene.ratio Pixels of the canvas for a CSS pixel.
 * @param {DrawnItem[]} scene.items
 * @param {string | null} [scene.picked] The id of the item with handles.
 * @param {string | null} [scene.pointed] The id of the item under the pointer.
 * @param {boolean} [scene.hasNames] Whether items have their names written at them.
 */
export function drawScene(context, { view, ratio, items, picked = null, pointed = null, hasNames = true }) {
  const { canvas } = context;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.lineJoin = "round";
  const brush = { context, view, ratio, hasNames };
  for (const item of items) {
    if (item.box && isInSight(brush, item)) drawBox(brush, item, item.id === pointed || item.id === picked);
  }
  for (const item of items) if (item.point) drawPoint(brush, item, item.id === picked);
  const chosen = items.find((item) => item.id === picked);
  if (chosen?.box) drawHandles(brush, chosen);
}

/** Draw something over a scene: a rectangle that is being drawn, or an outline to choose. */
export function drawDraft(context, { view, ratio, item, isStrong = true }) {
  drawBox({ context, view, ratio, hasNames: false }, item, isStrong);
}

/** Draw points on and off an item over a scene. */
export function drawPoints(context, { view, ratio, points }) {
  for (const { x, y, positive } of points) {
    drawPoint({ context, view, ratio }, { id: "", point: [x, y], look: positive ? "user" : "negative" }, true);
  }
}

/** Draw the cross that stands for the pointer of who uses the keys. */
export function drawCross(context, { view, ratio, place }) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const [x, y] = [place[0] * view.scale + view.x, place[1] * view.scale + view.y];
  for (const [colour, width] of [[HALO, 4], ["#ffffff", 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x - 14, y);
    context.lineTo(x + 14, y);
    context.moveTo(x, y - 14);
    context.lineTo(x, y + 14);
    context.stroke();
  }
}

/** The outline of an item in pixels of the photo, or its box; made once. @returns {Path2D} */
export function lineOf(/** @type {Item} */ item) {
  const key = item.path ?? "";
  const known = linesOf.get(item);
  if (known && known.path === key) return known.line;
  const [x1, y1, x2, y2] = item.box;
  const line = new Path2D();
  if (key) line.addPath(new Path2D(key), new DOMMatrix([x2 - x1, 0, 0, y2 - y1, x1, y1]));
  else line.rect(x1, y1, x2 - x1, y2 - y1);
  linesOf.set(item, { path: key, line });
  return line;
}

function isInSight({ context, view, ratio }, /** @type {Item} */ { box }) {
  const [x1, y1, x2, y2] = box.map((value) => value * view.scale);
  return (
    x2 + view.x >= 0 &&
    y2 + view.y >= 0 &&
    x1 + view.x <= context.canvas.width / ratio &&
    y1 + view.y <= context.canvas.height / ratio
  );
}

function drawBox({ context, view, ratio, hasNames }, /** @type {DrawnItem} */ item, isStrong) {
  const scale = view.scale * ratio;
  context.setTransform(scale, 0, 0, scale, view.x * ratio, view.y * ratio);
  const line = lineOf(item);
  const width = isStrong ? 3 : 1.75;
  const colour = COLOURS[item.look];
  context.setLineDash([]);
  context.strokeStyle = HALO;
  context.lineWidth = (width + 1.75) / view.scale;
  context.stroke(line);
  context.setLineDash(DASHES[item.look].map((part) => part / view.scale));
  context.strokeStyle = colour;
  context.lineWidth = width / view.scale;
  context.stroke(line);
  context.setLineDash([]);
  if (isStrong) {
    context.globalAlpha = 0.16;
    context.fillStyle = colour;
    context.fill(line, "evenodd");
    context.globalAlpha = 1;
  }
  if (item.look === "negative") drawDiagonal({ context, view }, item.box, colour);
  if (hasNames && item.name && (item.box[2] - item.box[0]) * view.scale > LABEL_PX) {
    drawName({ context, view, ratio }, item, colour);
  }
}

/** What is left out is crossed out: colour alone tells nobody who cannot see it. */
function drawDiagonal({ context, view }, [x1, y1, x2, y2], colour) {
  context.strokeStyle = colour;
  context.lineWidth = 1.25 / view.scale;
  context.beginPath();
  context.moveTo(x1, y2);
  context.lineTo(x2, y1);
  context.stroke();
}

function drawName({ context, view, ratio }, { box, name }, colour) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = FONT;
  const x = box[0] * view.scale + view.x;
  const y = Math.max(box[1] * view.scale + view.y - LABEL_PX, 0);
  const width = context.measureText(name).width + 10;
  context.fillStyle = HALO;
  context.fillRect(x, y, width, LABEL_PX);
  context.fillStyle = colour;
  context.textBaseline = "middle";
  context.fillText(name, x + 5, y + LABEL_PX / 2 + 0.5);
}

function drawPoint({ context, view, ratio }, /** @type {DrawnItem} */ { point, look }, isPicked) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const [x, y] = [point[0] * view.scale + view.x, point[1] * view.scale + view.y];
  const radius = isPicked ? POINT_PX + 2 : POINT_PX;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = COLOURS[look];
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = HALO;
  context.stroke();
  context.beginPath();
  context.moveTo(x - 3, y);
  context.lineTo(x + 3, y);
  if (look !== "negative") {
    context.moveTo(x, y - 3);
    context.lineTo(x, y + 3);
  }
  context.stroke();
}

function drawHandles({ context, view, ratio }, /** @type {DrawnItem} */ { box, look }) {
  if (look === "model" || look === "result") return;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  for (const handle of HANDLES) {
    const [px, py] = handlePlace(box, handle);
    const [x, y] = [px * view.scale + view.x - HANDLE_PX / 2, py * view.scale + view.y - HANDLE_PX / 2];
    context.fillStyle = "#ffffff";
    context.fillRect(x, y, HANDLE_PX, HANDLE_PX);
    context.lineWidth = 1.5;
    context.strokeStyle = HALO;
    context.strokeRect(x, y, HANDLE_PX, HANDLE_PX);
  }
}
