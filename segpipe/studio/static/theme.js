// Before the first paint: the theme that was chosen; else the system's holds.
(() => {
  const chosen = localStorage.getItem("segpipe.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
