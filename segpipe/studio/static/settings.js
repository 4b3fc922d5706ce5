// A chosen kind shows its settings at once; without scripts a button does it.
const form = document.querySelector("[data-settings]");
for (const button of form?.querySelectorAll("[data-plain]") ?? []) button.hidden = true;
form?.addEventListener("change", (event) => {
  if (!(event.target instanceof HTMLSelectElement) || !event.target.matches("[data-choice]")) return;
  const button = event.target.parentElement?.querySelector("button");
  if (button) form.requestSubmit(button);
});
