// A deal's page: how strong what was found is drawn, and a colour behind cut-outs.

for (const [place, property, read] of [
  ["[data-alpha]", "--alpha", (input) => String(input.value / 100)],
  ["[data-colour]", "--ground-colour", (input) => input.value],
]) {
  const label = document.querySelector(place);
  if (!label) continue;
  label.hidden = false;
  const input = label.querySelector("input");
  input.addEventListener("input", () => {
    document.documentElement.style.setProperty(property, read(input));
    if (input.type === "color") {
      document.body.dataset.ground = "own";
      document.querySelectorAll("[name=ground]").forEach((radio) => (radio.checked = false));
    }
  });
}
document.querySelectorAll("[name=ground]").forEach((radio) => {
  radio.addEventListener("change", () => delete document.body.dataset.ground);
});
