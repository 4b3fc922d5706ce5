// The page of trials: asks the API, and draws the answer over the photo.

import { keys } from "./keys.js";
import { toast } from "./toasts.js";
import { LastResults, beaten, inWords, nested, textsOf, typed } from "./trial.js";

const SVG = "http://www.w3.org/2000/svg";
const PATH = "/admin/api/test/segmentation";
const question = document.getElementById("question");
const last = new LastResults();

const chosenKind = () => question.querySelector("[name=kind]:checked")?.value ?? "classical";
const fieldset = (kind) => question.querySelector(`[data-kind="${kind}"]`);
const dedupSet = question.querySelector("[data-kind-dedup]");
const dedupOn = document.getElementById("dedup-on");

/** Switch off the fields that take no part, without hiding them. */
function follow() {
  const kind = chosenKind();
  const inner = fieldset(kind)?.querySelector("[data-inner]")?.value;
  for (const set of question.querySelectorAll("[data-kind]")) {
    set.disabled = ![kind, inner].includes(set.dataset.kind);
    const backend = set.querySelector("[data-backend]")?.value;
    for (const part of set.querySelectorAll("[data-of-backend]")) part.disabled = part.dataset.ofBackend !== backend;
  }
  dedupSet.disabled = !dedupOn.checked;
}

/** The values of the fields that stand in a set itself, not in a set inside it. */
function valuesOf(set) {
  const own = [...set.querySelectorAll("[data-name]")].filter((field) => field.closest("fieldset") === set);
  return nested(own.map((field) => [field.dataset.name, typed(field.value, field.dataset.control)]));
}

function segmenter(kind) {
  const set = fieldset(kind);
  const settings = { kind, ...valuesOf(set) };
  const inner = set.querySelector("[data-inner]")?.value;
  const backend = set.querySelector("[data-backend]")?.value;
  if (inner) settings.inner = segmenter(inner);
  if (backend) settings.backend = { kind: backend, ...valuesOf(set.querySelector(`[data-of-backend="${backend}"]`)) };
  return settings;
}

const dataUrl = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });

/** The photo to ask about, and where its picture is. */
async function photo() {
  const file = document.getElementById("upload").files[0];
  if (file) {
    const url = (await dataUrl(file)).replace(/^data:[^;,]*/, file.type.startsWith("image/") ? `data:${file.type}` : "data:application/octet-stream");
    return { image: { kind: "upload", data_url: url }, picture: URL.createObjectURL(file), name: file.name };
  }
  const select = document.getElementById("image");
  const option = select?.selectedOptions[0];
  if (!option) throw new Error("Choose a photo first: of a deal, or of this machine.");
  const image = { kind: "deal_image", deal_id: select.dataset.deal, image_id: option.value };
  return { image, picture: option.dataset.picture, name: option.textContent };
}

function showFaults(faults) {
  for (const place of question.querySelectorAll(".field .fault")) place.hidden = true;
  const left = [];
  for (const { field, message } of faults) {
    const parts = field.split(".");
    const input = [...question.querySelectorAll("fieldset:not(:disabled) [data-name]")].find(
      (one) => !one.matches(":disabled") && field.endsWith(`.${one.dataset.name}`),
    );
    const place = input?.closest(".field")?.querySelector(".fault");
    if (place) Object.assign(place, { hidden: false, textContent: message });
    else left.push(`${parts.join(".")}: ${message}`);
  }
  return left;
}

async function attempt() {
  const button = document.getElementById("try");
  const said = document.getElementById("said");
  button.disabled = true;
  said.textContent = "Looking …";
  try {
    const { image, picture, name } = await photo();
    const body = { image, segmenter_config: segmenter(chosenKind()), combined_config: dedupOn.checked ? valuesOf(dedupSet) : null };
    const texts = textsOf(document.getElementById("texts").value);
    if (texts.length) body.params = { texts };
    const response = await fetch(PATH, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) {
      const left = showFaults(answer.fields ?? []);
      said.textContent = answer.fields && !left.length ? "Correct the marked fields." : left.join("; ") || answer.detail;
      return;
    }
    showFaults([]);
    last.add({ answer, picture, name });
    show();
  } catch (error) {
    said.textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

function drawn(answer) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${answer.image.width} ${answer.image.height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const order = [...answer.detections.keys()].sort((a, b) => Boolean(answer.detections[b].beaten_by) - Boolean(answer.detections[a].beaten_by));
  for (const index of order) {
    const one = answer.detections[index];
    const [x1, y1, x2, y2] = one.outline?.bbox ?? one.bbox;
    const shape = document.createElementNS(SVG, one.outline ? "path" : "rect");
    const box = one.outline ? { d: one.outline.path } : { width: 1, height: 1 };
    for (const [name, value] of Object.entries(box)) shape.setAttribute(name, value);
    shape.setAttribute("transform", `translate(${x1} ${y1}) scale(${x2 - x1} ${y2 - y1})`);
    shape.setAttribute("class", one.beaten_by ? "rejected" : "kept");
    shape.setAttribute("fill-rule", "evenodd");
    const title = document.createElementNS(SVG, "title");
    title.textContent = one.beaten_by ? beaten(index, one.beaten_by) : `#${index}: ${one.label ?? "kept"}, score ${one.score.toFixed(2)}`;
    shape.append(title);
    svg.append(shape);
  }
  return svg;
}

function show() {
  const { answer, picture, name } = last.current;
  const image = Object.assign(document.createElement("img"), { src: picture, alt: `${name} with what was found` });
  const place = document.getElementById("picture");
  place.replaceChildren(image, drawn(answer));
  place.hidden = false;
  const notes = answer.notes.length ? ` · ${answer.notes.join(" · ")}` : "";
  document.getElementById("said").textContent = `${answer.segmenter_id}: ${inWords(answer)}${notes}`;
  const rejected = answer.detections.flatMap((one, index) => (one.beaten_by ? [beaten(index, one.beaten_by)] : []));
  document.getElementById("rejected").replaceChildren(...rejected.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  const buttons = last.results.map((_, index) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: `Result ${index + 1}` });
    button.setAttribute("aria-pressed", String(index === last.shown));
    button.addEventListener("click", () => {
      last.shown = index;
      show();
    });
    return button;
  });
  document.getElementById("trials").replaceChildren(...buttons);
}

async function copyToSettings() {
  const before = await (await fetch("/api/settings")).json();
  const settings = { ...before.settings, segmenter: segmenter(chosenKind()) };
  if (dedupOn.checked) settings.dedup = valuesOf(dedupSet);
  const response = await fetch("/api/settings", {
    method: "PUT",
    headers: { "Content-Type": "application/json", "If-Match": `"${before.generation}"` },
    body: JSON.stringify({ settings, note: "from a test" }),
  });
  const answer = await response.json();
  if (!response.ok) {
    showFaults(answer.fields ?? []);
    toast(answer.detail, { kind: "bad" });
    return;
  }
  const undo = () => fetch(before.generation ? `/api/settings/restore/${before.generation}` : "/api/settings/reset", { method: "POST" });
  toast(`Saved as generation ${answer.generation}; nothing is run by it.`, { action: "Undo", onAction: undo });
}

question.addEventListener("change", follow);
document.getElementById("try").addEventListener("click", attempt);
document.getElementById("copy").addEventListener("click", copyToSettings);
keys.add({ name: "try", title: "Try", key: "Control+Enter", run: attempt });
keys.add({ name: "blink", title: "Next result", key: "b", run: () => last.next() && show() });
follow();
