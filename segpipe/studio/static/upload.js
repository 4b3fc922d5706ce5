// Photos dropped onto a form: each is sent by itself, and is added whole or not at all.

import { toast } from "./toasts.js";

const AT_ONCE = 3;

/** What was wrong, without the name that stands beside it. */
function withoutName(detail, name) {
  return detail?.startsWith(`${name}: `) ? detail.slice(name.length + 2) : detail;
}

/**
 * Send one photo.
 * @returns {Promise<{ok: boolean, text: string}>} What became of it, for people.
 */
export function sendPhoto(deal, file, onProgress) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const place = `/api/deals/${encodeURIComponent(deal)}/photos/${encodeURIComponent(file.name)}`;
    request.open("PUT", place);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded / (event.total || 1)));
    request.addEventListener("load", () => {
      const said = request.response ?? {};
      if (request.status !== 200) resolve({ ok: false, text: withoutName(said.detail, file.name) ?? `refused (${request.status})` });
      else if (said.new.length) resolve({ ok: true, text: "added" });
      else resolve({ ok: true, text: said.same.length ? "there already" : "skipped, as it is no photo" });
    });
    request.addEventListener("error", () => resolve({ ok: false, text: "the studio does not answer" }));
    request.send(file);
  });
}

function line(list, file) {
  const item = document.createElement("li");
  const name = Object.assign(document.createElement("bdi"), { textContent: file.name });
  const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
  bar.setAttribute("aria-label", `Sending ${file.name}`);
  const said = document.createElement("span");
  item.append(name, bar, said);
  list.append(item);
  return { item, bar, said };
}

/** Send files to a deal, a few at a time; gives how many could not be added. */
async function sendAll(form, deal, files) {
  const list = form.querySelector(".uploads");
  list.replaceChildren();
  const waiting = files.map((file) => ({ file, ...line(list, file) }));
  let failed = 0;
  const work = async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) {
      const { file, item, bar, said } = one;
      const told = await sendPhoto(deal, file, (share) => (bar.value = share));
      bar.remove();
      item.className = told.ok ? "ok" : "bad";
      said.textContent = told.text;
      failed += told.ok ? 0 : 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return failed;
}

function start(form) {
  const input = form.querySelector("input[type=file]");
  const take = async (files) => {
    const deal = (form.dataset.deal ?? form.elements.deal.value).trim();
    if (!files.length) return;
    if (!deal) {
      form.elements.deal.focus();
      toast("Give the deal a name first, then drop the photos again.", { kind: "bad" });
      return;
    }
    form.setAttribute("aria-busy", "true");
    const failed = await sendAll(form, deal, [...files]);
    form.removeAttribute("aria-busy");
    input.value = "";
    if (failed) toast(`${failed} of ${files.length} photos could not be added.`, { kind: "bad" });
    else location.assign(`/deals/${encodeURIComponent(deal)}${location.search.includes("inside_box") ? "?mode=inside_box" : ""}`);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    take(input.files);
  });
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  form.addEventListener("dragleave", () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    take(event.dataTransfer.files);
  });
}

document.querySelectorAll("[data-drop]").forEach(start);
