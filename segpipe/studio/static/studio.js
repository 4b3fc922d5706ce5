// What every page does: keys, help, theme, and messages of what htmx could not do.

import { drawKeyTable } from "./key_table.js";
import { keys } from "./keys.js";
import { toast } from "./toasts.js";

const THEME = "segpipe.theme";

function switchTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem(THEME, root.dataset.theme);
}

function showHelp() {
  const dialog = document.getElementById("help");
  drawKeyTable(dialog.querySelector("[data-keys]"));
  dialog.showModal();
}

for (const [selector, run] of [["[data-help]", showHelp], ["[data-theme-switch]", switchTheme]]) {
  for (const button of document.querySelectorAll(selector)) {
    button.hidden = false;
    button.addEventListener("click", run);
  }
}

for (const form of document.querySelectorAll("[data-filters]")) {
  form.addEventListener("change", () => form.requestSubmit());
  form.querySelectorAll("[data-plain]").forEach((button) => (button.hidden = true));
}

keys.add({ name: "search", title: "Search", key: "/", run: () => document.querySelector("[data-search]")?.focus() });
keys.add({ name: "help", title: "Help", key: "?", run: showHelp });
for (const link of document.querySelectorAll("[data-go]")) {
  keys.add({
    name: `go-${link.dataset.go}`,
    title: `Go to ${link.textContent.trim()}`,
    key: `g ${link.dataset.go}`,
    run: () => link.click(),
  });
}
keys.listen(document);

document.addEventListener("htmx:responseError", (event) => {
  let detail = `The server said ${event.detail.xhr.status}.`;
  try {
    detail = JSON.parse(event.detail.xhr.responseText).detail ?? detail;
  } catch {
    // It is no problem document; its status is said.
  }
  toast(detail, { kind: "bad" });
});
document.addEventListener("htmx:sendError", () => toast("The studio does not answer.", { kind: "bad" }));
