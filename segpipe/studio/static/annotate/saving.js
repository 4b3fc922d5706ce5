// What the drawing page says of saving: how it stands, and who decides where two people disagree.

import { toast } from "../toasts.js";
import { reviewRules } from "../review/decisions.js";
import { drawStatus } from "./panel.js";
import { promptRules } from "./prompts.js";
import { PromptSync } from "./sync.js";
import { unsavedUrls } from "./unsaved.js";

const OTHERS_MS = 8_000;
const DONE = { add: "drawn a mark", change: "changed a mark", remove: "removed a mark", text: "changed the text" };

/**
 * Say how saving goes, and ask where it has to be asked.
 *
 * @param {object} page
 * @param {PromptSync} page.sync
 * @param {PromptSync} page.dealSync
 * @param {import("./workplace.js").Workplace} page.work
 * @param {HTMLElement} page.place Where it is said.
 */
export function listenToSaving({ sync, dealSync, work, place }) {
  const say = () => {
    const worst = [sync.status, dealSync.status].find(({ state }) => state !== "saved");
    drawStatus(place, worst ?? sync.status);
  };
  for (const each of [sync, dealSync]) {
    each.addEventListener("status", say);
    each.addEventListener("refused", ({ detail }) => toast(`Not saved: ${detail}`, { kind: "bad" }));
    each.addEventListener("conflict", ({ detail }) => askWhichWins(each, work, detail));
    addEventListener("online", () => each.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || each.hurry());
  }
  sync.addEventListener("others", ({ detail }) => {
    detail.ids.forEach((id) => work.history.forget(id));
    tellOfOthers(detail.ids.length);
  });
  say();
}

/** One message for all that others do within a while. */
const others = { count: 0, takeAway: () => {} };

function tellOfOthers(count) {
  others.takeAway();
  others.count += count;
  clearTimeout(others.timer);
  others.timer = setTimeout(() => (others.count = 0), OTHERS_MS);
  const some = others.count === 1 ? "one thing" : `${others.count} things`;
  others.takeAway = toast(`Somebody else, or a run, has changed ${some} here.`);
}

function askWhichWins(sync, work, { operations, annotations }) {
  const dialog = document.querySelector("[data-conflict]");
  const done = new Set(operations.map(({ op }) => DONE[op]));
  dialog.querySelector("[data-conflict-what]").textContent =
    `You have ${[...done].join(" and ")}, and so has somebody else, in another way.`;
  const answer = (isMine) => {
    dialog.close();
    annotations.forEach((id) => work.history.forget(id));
    sync.resolve(isMine);
  };
  dialog.querySelector("[data-mine-wins]").onclick = () => answer(true);
  dialog.querySelector("[data-theirs-wins]").onclick = () => answer(false);
  dialog.oncancel = (event) => event.preventDefault();
  if (!dialog.open) dialog.showModal();
}

/** Save now what could not be saved of other photos. */
export async function saveLeftovers(/** @type {string[]} */ ownUrls) {
  for (const url of unsavedUrls(localStorage).filter((each) => !ownUrls.includes(each))) {
    const rules = isReview(url) ? reviewRules : promptRules;
    const other = new PromptSync({ url, rules, document: rules.read({ tag: "" }) });
    await other.flush();
    other.close();
  }
}

/** Whether an address is that of a review, and not of prompts. */
function isReview(/** @type {string} */ url) {
  return new URL(url, location.origin).pathname.endsWith("/review");
}
