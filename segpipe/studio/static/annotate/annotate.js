// The page on which people draw: buttons, keys, fields and lists around a photo.

import { keys } from "../keys.js";
import { toast } from "../toasts.js";
import { addKeys, listenOnStage } from "./annotate_keys.js";
import { addMaskKeys } from "../mask/mask_keys.js";
import { Mender } from "./mend.js";
import { drawList, fill, titleOf } from "./panel.js";
import { boxBetween } from "./scene.js";
import { newId, shapeOf } from "./prompts.js";
import { listenToSaving, saveLeftovers } from "./saving.js";
import { PromptSync } from "./sync.js";
import { Workplace } from "./workplace.js";

const root = document.querySelector("[data-annotate]");
const facts = JSON.parse(document.getElementById("annotate-facts").textContent);
const one = (name) => root.querySelector(`[data-${name}]`);
const button = (name) => root.querySelector(`[data-do="${name}"]`);

const asDocument = (given) => ({ ...given, text: given.text ?? null, annotations: given.annotations ?? [] });
const sync = new PromptSync({ url: `${facts.api}/prompts`, document: asDocument(facts.document) });
const dealSync = new PromptSync({ url: facts.dealApi, document: asDocument(facts.dealDocument) });
const work = new Workplace({ facts, stage: one("stage"), image: one("photo"), sync, askCandidates });
const { editor } = work;
const mender = new Mender({ work, tools: root.querySelector("[data-mask-tools]"), status: one("status"), say });

async function ask(path, options = {}) {
  const response = await fetch(`${facts.api}${path}`, {
    ...options,
    headers: { Accept: "application/json", "Content-Type": "application/json" },
  });
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail ?? `The studio said ${response.status}.`);
  return body;
}

async function askCandidates(points) {
  try {
    const body = JSON.stringify({ points });
    return (await ask("/candidates", { method: "POST", body })).items;
  } catch (error) {
    toast(error.message, { kind: "bad" });
    return [];
  }
}

const commands = {
  select: () => choose("select"),
  box: () => choose("box"),
  point: () => choose("point"),
  magic: () => choose("magic"),
  pan: () => choose("pan"),
  negative: () => {
    editor.isNegative = !editor.isNegative;
    say(editor.isNegative ? "Drawing what to leave out" : "Drawing what to find");
  },
  undo: () => say(work.history.next ? `Undone: ${work.undo()}` : "Nothing to undo"),
  redo: () => say(work.history.nextRedo ? `Done again: ${work.redo()}` : "Nothing to do again"),
  "zoom-in": () => work.surface.zoom(1.5),
  "zoom-out": () => work.surface.zoom(1 / 1.5),
  fit: () => work.fit(),
  escape: () => work.escape(),
  turn: () => editor.turnRound(),
  remove: () => editor.remove(),
  example: () => work.use(editor.chosen, "find_all", "positive_exemplar"),
  "not-this": () => work.use(editor.chosen, "find_all", "negative_exemplar"),
  "cut-out": cutOut,
  mend: () => facts.mayDraw && editor.chosen?.source === "model" && mender.begin(editor.chosen.box),
  copy: copyFromPrevious,
  preview: () => (work.preview.length ? showPreview([]) : preview()),
  take: () => work.takeReading(),
  drop: () => work.candidates.clear(),
  "next-item": () => editor.pickNext(1),
  "previous-item": () => editor.pickNext(-1),
  class: () => one("category").focus(),
  "next-photo": () => one("next")?.click(),
  "previous-photo": () => one("previous")?.click(),
  "reading-1": () => work.candidates.choose(0),
  "reading-2": () => work.candidates.choose(1),
  "reading-3": () => work.candidates.choose(2),
};

function run(name) {
  commands[name]();
  work.changed();
}

function choose(tool) {
  editor.tool = tool;
  editor.cancel();
  if (tool !== "magic") work.candidates.clear();
  say(`Tool: ${root.querySelector(`[data-tool="${tool}"]`).textContent.trim()}`);
}

function say(text) {
  one("said").textContent = text;
}

function cutOut() {
  const { chosen } = editor;
  if (!chosen) return;
  work.use(chosen, "inside_box", "segment");
  toast("It will be cut out, in the mode Inside boxes.", { action: "Undo", onAction: () => run("undo") });
}

async function copyFromPrevious() {
  try {
    const response = await fetch(facts.before, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error("The previous photo's prompts cannot be read.");
    const { annotations = [] } = await response.json();
    const corner = [facts.photo.width, facts.photo.height];
    const isInside = ({ point }) => !point || (point[0] < corner[0] && point[1] < corner[1]);
    const operations = annotations
      .filter((each) => each.mode === facts.mode && each.source !== "model" && isInside(each))
      .map((each) => {
        const box = each.box && boxBetween(each.box.slice(0, 2), each.box.slice(2), facts.photo);
        return { op: "add", id: newId(), to: shapeOf({ ...each, box: box ?? undefined }) };
      })
      .filter(({ to }) => to.box || to.point);
    work.commit(`Copy of ${operations.length}`, operations);
    toast(operations.length ? `Copied ${operations.length} from the previous photo.` : "Nothing is drawn on the previous photo.");
  } catch (error) {
    toast(error.message, { kind: "bad" });
  }
}

async function preview() {
  const note = one("preview-note");
  note.textContent = "Asking the segmenter …";
  button("preview").disabled = true;
  try {
    if (!(await sync.flush())) throw new Error("What is drawn is not saved yet.");
    const answer = await ask(`/preview?mode=${facts.mode}`, { method: "POST" });
    showPreview(answer.items);
    const items = answer.items.length === 1 ? "1 item" : `${answer.items.length} items`;
    note.textContent = `${items} by ${answer.segmenter} in ${(answer.elapsed_ms / 1000).toFixed(1)} s. ${answer.notes.join(" ")}`;
  } catch (error) {
    note.textContent = error.message;
  } finally {
    button("preview").disabled = false;
  }
}

function showPreview(items) {
  if (!items.length) one("preview-note").textContent = "";
  work.showPreview(items);
}

function draw() {
  const { chosen } = editor;
  const isFound = chosen?.source === "model";
  for (const each of root.querySelectorAll("[data-tool]:is(button)")) {
    each.setAttribute("aria-pressed", String(each.dataset.tool === editor.tool));
  }
  one("stage").dataset.tool = editor.tool;
  button("negative").setAttribute("aria-pressed", String(editor.isNegative));
  button("preview").setAttribute("aria-pressed", String(work.preview.length > 0));
  button("undo").disabled = !work.history.next;
  button("redo").disabled = !work.history.nextRedo;
  const { mine } = work;
  const found = work.items.filter((each) => each.source === "model");
  const onPick = (id) => {
    editor.picked = id;
    editor.cross = null;
    work.changed();
  };
  const onPoint = (id) => {
    editor.pointed = id;
    work.surface.redraw();
  };
  drawList(one("items"), mine, { picked: editor.picked, onPick, onPoint });
  drawList(one("found-items"), found, { picked: editor.picked, onPick, onPoint });
  one("count").textContent = String(mine.length);
  one("nothing").hidden = mine.length > 0;
  one("found-count").textContent = String(work.found.length);
  one("found-section").hidden = !work.found.length && !found.length;
  one("picked").hidden = !chosen;
  if (chosen) {
    one("picked-title").textContent = isFound ? "Found by a run" : titleOf(chosen);
    one("category-field").hidden = isFound;
    one("mine").hidden = isFound || !facts.mayDraw;
    one("found").hidden = !isFound || !facts.mayDraw;
    button("turn").hidden = chosen.prompt_type === "segment";
    fill(one("category"), chosen.category);
  }
  drawCandidates();
  if (one("text")) {
    fill(one("text"), sync.prompts.text);
    fill(one("deal-text"), dealSync.prompts.text);
  }
}

function drawCandidates() {
  const { candidates } = work;
  one("candidates").hidden = editor.tool !== "magic";
  const { readings, points, isAsking } = candidates;
  const advice = points.length ? "Nothing is seen there." : "Click on an item; Alt or the right button: not this part.";
  one("candidates-note").textContent = isAsking ? "Asking the segmenter …" : readings.length ? "" : advice;
  const shown = readings.map((reading, index) => {
    const choice = Object.assign(document.createElement("button"), { type: "button" });
    choice.textContent = `${index + 1}: ${Math.round(reading.score * 100)} %`;
    choice.setAttribute("aria-pressed", String(index === candidates.place));
    choice.addEventListener("click", () => candidates.choose(index));
    return choice;
  });
  one("readings").replaceChildren(...shown);
  button("take").disabled = !readings.length || !facts.mayDraw;
}

function listenToFields() {
  one("category").addEventListener("change", (event) => {
    const { chosen } = editor;
    if (chosen) editor.change("Class", chosen.id, { category: event.target.value.trim() || null });
  });
  one("text")?.addEventListener("change", (event) => {
    const to = event.target.value.trim() || null;
    if (to !== sync.prompts.text) work.commit("Text", [{ op: "text", was: sync.prompts.text, to }]);
  });
  one("deal-text")?.addEventListener("change", (event) => {
    const to = event.target.value.trim() || null;
    if (facts.mayDraw && to !== dealSync.prompts.text) dealSync.push([{ op: "text", was: dealSync.prompts.text, to }]);
  });
  one("show-found").addEventListener("change", (event) => {
    work.isShowingFound = event.target.checked;
    work.changed();
  });
  root.addEventListener("click", (event) => {
    const pressed = event.target.closest("button[data-tool], button[data-do]");
    if (pressed) run(pressed.dataset.tool ?? pressed.dataset.do);
  });
}

let isFull = false;
/** The photo in full, once somebody looks so close that the reduced one is not sharp. */
async function sharpen({ scale }) {
  const side = Math.max(facts.photo.width, facts.photo.height);
  if (isFull || side <= facts.shownSide || scale * side * devicePixelRatio <= facts.shownSide * 1.25) return;
  isFull = true;
  const whole = new Image();
  whole.src = facts.full;
  await whole.decode().catch(() => (isFull = false));
  if (isFull) one("photo").src = facts.full;
}

/** Scroll the film strip alone: on a small screen the page would be scrolled with it. */
function showInStrip(photo) {
  const strip = root.querySelector(".strip");
  const { left, width } = photo.getBoundingClientRect();
  strip.scrollLeft += left + width / 2 - strip.getBoundingClientRect().left - strip.clientWidth / 2;
}

async function showFound() {
  try {
    work.showFound((await ask(`/found?mode=${facts.mode}`)).items);
  } catch {
    // The boxes that are among the prompts are shown without outlines.
  }
}

work.addEventListener("change", draw);
work.addEventListener("rest", ({ detail }) => sharpen(detail));
addKeys(keys, run, () => Boolean(work.mending));
addMaskKeys(keys, () => work.mending);
listenOnStage(one("stage"), work);
listenToFields();
listenToSaving({ sync, dealSync, work, place: one("status") });
dealSync.addEventListener("change", draw);
work.addEventListener("refused", ({ detail }) => toast(detail, { kind: "bad" }));
work.addEventListener("done", ({ detail }) => say(`${detail}: done`));
if (facts.fault) toast(facts.fault, { kind: "bad" });
showInStrip(root.querySelector(".strip [aria-current]"));
draw();
showFound();
// A page that is left behind keeps neither pictures nor timers; one that is come back to begins anew.
addEventListener("pagehide", () => {
  sync.close();
  dealSync.close();
  mender.close();
  work.close();
});
addEventListener("pageshow", (event) => event.persisted && location.reload());
saveLeftovers([sync.url, dealSync.url]);
root.dataset.ready = "true";
