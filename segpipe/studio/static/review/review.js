// The page on which people decide about items: keys, buttons, the item close up, the photo.

import { drawStatus } from "../annotate/panel.js";
import { keys } from "../keys.js";
import { addMaskKeys } from "../mask/mask_keys.js";
import { toast } from "../toasts.js";
import { closeUpUrl, preload, showCloseUp } from "./close_up.js";
import { decisionOf, REASONS } from "./decisions.js";
import { ReviewDesk, saidAbout } from "./desk.js";
import { wilson } from "./interval.js";
import { PhotoPane } from "./photo_pane.js";
import { addReviewKeys } from "./review_keys.js";
import { ContactSheet } from "./sheet.js";

const SIDE_PX = 640;
const WORDS = {
  accepted: "Accepted",
  rejected: "Rejected",
  edited: "Mended",
  added: "Drawn by hand",
  superseded: "Replaced by a mended item",
  changed: "Was accepted, and has another mask now",
  unreviewed: "Not reviewed yet",
};
const root = document.querySelector("[data-review]");
const facts = JSON.parse(document.getElementById("review-facts").textContent);
const one = (name) => root.querySelector(`[data-${name}]`);
const button = (name) => root.querySelector(`[data-do="${name}"]`);

const tab = Array.from(crypto.getRandomValues(new Uint32Array(2)), (value) => value.toString(36)).join("");
const desk = new ReviewDesk({ ...facts, tab });
const pane = new PhotoPane({
  place: one("pane"),
  tools: root.querySelector("[data-mask-tools]"),
  desk,
  onPick: (key) => pane.session || desk.pick(key),
  onEnd: (isDecided) => isDecided && desk.next(),
  say,
});
const sheet = new ContactSheet({ desk, place: one("sheet") });
/** Whether X was pressed, and 1 to 7 say why. */
let isAskingWhy = false;
/** @type {HTMLImageElement | null} */ let shown = null;

const commands = {
  accept: () => decide("Accepted", { verdict: "accept" }),
  reject: () => (isAskingWhy ? reject(null) : askWhy(true)),
  next: () => desk.next(),
  forward: () => desk.step(1),
  back: () => desk.step(-1),
  edit: () => mend(false),
  new: () => mend(true),
  undo: async () => say((await desk.undo().then((name) => name && `Undone: ${name}`)) ?? "Nothing to undo"),
  redo: async () => say((await desk.redo().then((name) => name && `Done again: ${name}`)) ?? "Nothing to do again"),
  rest: acceptRest,
  done: turnDone,
  sheet: turnSheet,
  escape: () => askWhy(false),
};

function run(name) {
  if (name.startsWith("why-")) reject(REASONS[Number(name.slice(4)) - 1][0]);
  else commands[name]();
}

/** Nobody decides about what is not on the screen yet. */
function decide(name, said) {
  askWhy(false);
  if (!desk.current) return;
  if (!facts.mayDecide) say("You may look at items, and not decide about them.");
  else if (!shown?.complete || !desk.decide(name, said)) say("The item is still being loaded.");
}

function reject(reason) {
  decide("Rejected", reason ? { verdict: "reject", reason } : { verdict: "reject" });
}

function askWhy(isAsking) {
  isAskingWhy = isAsking && Boolean(desk.current);
  one("why").dataset.asking = String(isAskingWhy);
  if (isAskingWhy) say("Why? 1 to 7; X again: no reason");
}

function turnDone() {
  if (!desk.current || !facts.mayDecide) return;
  const isDone = desk.turnDone();
  show();
  say(isDone ? "The photo is done: nothing is missing" : "The photo is not done");
}

async function mend(isNew) {
  askWhy(false);
  if (!desk.current || pane.session || !facts.mayDecide) return;
  try {
    await pane.mend(desk.current, isNew);
  } catch (error) {
    toast(error.message, { kind: "bad" });
  }
}

async function acceptRest() {
  if (!facts.mayDecide) return;
  try {
    const count = await desk.acceptRest();
    toast(count === 1 ? "Accepted 1 item." : `Accepted ${count} items.`, { action: "Undo", onAction: () => run("undo") });
  } catch (error) {
    toast(error.message, { kind: "bad" });
  }
}

async function turnSheet() {
  const isOn = one("sheet").hidden;
  one("sheet").hidden = !isOn;
  one("single").hidden = isOn;
  button("sheet").setAttribute("aria-pressed", String(isOn));
  if (isOn) await sheet.show();
  else await desk.next();
}

async function decideSheet(event) {
  event.preventDefault();
  if (!facts.mayDecide) return;
  const fault = sheet.decide(one("sheet-reason").value);
  if (fault) {
    say(fault);
    return;
  }
  await desk.next();
  await sheet.show();
}

function say(text) {
  one("said").textContent = text;
}

function show() {
  const item = desk.current;
  one("none").hidden = Boolean(item);
  one("item").hidden = !item;
  pane.show(item);
  if (item) showItem(item);
  showCounts();
  const ahead = desk.ahead().slice(1);
  const photoOf = (each) => desk.photos.get(`${each.deal}/${each.image}`);
  preload(ahead.map((each) => closeUpUrl(each, photoOf(each), SIDE_PX)));
  preload([...new Set(ahead.map((each) => pane.urlOf(each)))].slice(0, 3));
  root.dataset.shown = item ? `${item.deal} ${item.image} ${item.key}` : "";
}

function showItem(item) {
  const found = desk.photoOf(item).items.find((each) => each.key === item.key) ?? item;
  const photo = desk.photos.get(`${item.deal}/${item.image}`);
  const state = desk.stateOf(item);
  shown = showCloseUp(one("close"), { item, photo, path: found.path ?? "", box: found.box, side: SIDE_PX, state });
  const reason = REASONS.find(([name]) => name === saidAbout(desk, item)?.reason)?.[1];
  one("standing").textContent = reason ? `${WORDS[state]}: ${reason.toLowerCase()}` : WORDS[state];
  one("standing").dataset.state = state;
  one("what").textContent = [found.label, `${Math.round(item.score * 100)} %`].filter(Boolean).join(" · ");
  one("where").textContent = `${item.deal} · ${photo.name}`;
  const { prompts } = desk.photoOf(item).sync;
  const by = decisionOf(prompts, item.key)?.by;
  one("by").textContent = by ? `by ${by}` : "";
  button("done").setAttribute("aria-pressed", String(prompts.done));
}

function showCounts() {
  const { left, items } = desk;
  one("left").textContent = `${left} of ${items.length} left`;
  one("progress").max = Math.max(items.length, 1);
  one("progress").value = items.length - left;
  const { right, decided } = desk.tally;
  const percent = (part) => `${(100 * part).toFixed(1)} %`;
  const [low, high] = decided ? wilson(right, decided) : [0, 1];
  one("precision").textContent = decided
    ? `${percent(right / decided)} of ${decided} are items (95 %: ${percent(low)} to ${percent(high)})`
    : "";
}

function listen() {
  desk.addEventListener("show", show);
  desk.addEventListener("change", ({ detail }) => {
    say(detail);
    pane.redraw();
    showCounts();
  });
  desk.addEventListener("status", () => drawStatus(one("status"), desk.loaded.status));
  desk.addEventListener("met", ({ detail }) => say(`${detail} looks at that one: here is another`));
  desk.addEventListener("refused", ({ detail }) => toast(`Not saved: ${detail}`, { kind: "bad" }));
  desk.addEventListener("others", () => show());
  desk.addEventListener("conflict", ({ detail }) => {
    // Who came first has decided; who came second sees it, and may decide anew.
    detail.sync.resolve(false);
    toast("Somebody else has decided about the same item.", { kind: "bad" });
    show();
  });
  root.addEventListener("click", (event) => {
    const pressed = event.target.closest("button[data-do]");
    if (pressed) run(pressed.dataset.do);
  });
  one("sheet").addEventListener("submit", decideSheet);
  addEventListener("online", () => desk.loaded.flush());
  addEventListener("pagehide", () => desk.close());
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

const isMending = () => Boolean(pane.session);
addMaskKeys(keys, () => pane.session);
addReviewKeys(keys, run, { isMending, isAskingWhy: () => isAskingWhy });
listen();
try {
  await desk.open();
} catch (error) {
  toast(error.message, { kind: "bad" });
}
show();
root.dataset.ready = "true";
