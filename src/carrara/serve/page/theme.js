// Before the first paint: the theme and the language that were chosen last.
try {
  const kept = JSON.parse(localStorage.getItem("carrara.studio") || "{}");
  if (kept.theme === "light" || kept.theme === "dark") document.documentElement.dataset.theme = kept.theme;
  if (kept.lang === "zh") document.documentElement.lang = "zh-Hans";
} catch {
  // What was kept is damaged: the page begins anew.
}
