// Everything works without this file. It adds: theme, find, times as "5 min ago", what is new since you last looked,
// and a word when newer numbers are published.
(() => {
  const root = document.documentElement, all = (css, on = document) => on.querySelectorAll(css);
  let store = {};
  try { store = localStorage } catch { /* not allowed: nothing is remembered */ }
  root.classList.add("js");
  if (store.theme) root.dataset.theme = store.theme;
  addEventListener("DOMContentLoaded", () => {
    all("#theme").forEach(button => button.onclick = () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = store.theme = dark ? "light" : "dark";
    });
    const find = document.querySelector("#find");
    find?.addEventListener("input", () => {
      const words = find.value.toLowerCase();
      all(".tile").forEach(tile => tile.hidden = !(tile.dataset.find ?? "").includes(words));
      all(".part-of").forEach(part => part.hidden = !part.querySelector(".tile:not([hidden])"));
    });
    addEventListener("keydown", event => {
      if (event.key === "/" && find && !/INPUT|SELECT/.test(document.activeElement.tagName)) { event.preventDefault(); find.focus() }
    });
    const tell = () => all("time[data-rel]").forEach(time => {
      const minutes = Math.round((Date.now() - new Date(time.dateTime)) / 6e4);
      time.title ||= time.textContent;
      if (minutes >= 0) time.textContent = minutes < 1 ? "just now" : minutes < 60 ? `${minutes} min ago`
        : minutes < 2880 ? `${Math.round(minutes / 60)} h ago` : `${Math.round(minutes / 1440)} days ago`;
    });
    tell(); setInterval(tell, 6e4);
    all("[data-seen]").forEach(place => {
      const key = "seen:" + place.dataset.seen, last = +(store[key] ?? Infinity);
      all("[data-publish]", place).forEach(told => {
        if (+told.dataset.publish <= last) return;
        const mark = document.createElement("span");
        mark.className = "new"; mark.textContent = "new"; mark.title = "since you last looked";
        told.prepend(mark, " ");
      });
      store[key] = place.dataset.newest;
    });
    let shown;
    const look = async () => {
      if (document.hidden || document.querySelector(".live")) return;
      const now = await fetch("/api/v1/version").then(answer => answer.ok ? answer.text() : "").catch(() => "");
      if (now && shown && now !== shown) {
        const button = document.createElement("button");
        button.className = "live"; button.textContent = "Newer numbers were published · show"; button.onclick = () => location.reload();
        document.body.append(button);
      }
      shown ||= now;
    };
    if (root.dataset.watch !== undefined) { look(); setInterval(look, 15000) }
  });
})();
