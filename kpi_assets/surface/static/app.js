// Everything works without this file. It adds: theme, find, times as "5 min ago", the age of numbers by the second, what
// is new since you last looked, and tiles that are replaced when newer numbers are published.
(() => {
  const root = document.documentElement, all = (css, on = document) => [...on.querySelectorAll(css)];
  let store = {};
  try { store = localStorage } catch { /* not allowed: nothing is remembered */ }
  root.classList.add("js");
  if (store.theme) root.dataset.theme = store.theme;
  addEventListener("DOMContentLoaded", () => {
    // The parts of the page as the server wrote them: what follows changes some.
    const parts_of = page => new Map(all("[data-part]", page).map(part => [part.dataset.part, part.outerHTML]));
    const parts = parts_of(document);

    all("#theme").forEach(button => button.onclick = () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = store.theme = dark ? "light" : "dark";
    });
    const find = document.querySelector("#find");
    const filter = () => {
      const words = find.value.toLowerCase();
      all(".tile").forEach(tile => tile.hidden = !(tile.dataset.find ?? "").includes(words));
      all(".part-of").forEach(part => part.hidden = !part.querySelector(".tile:not([hidden])"));
    };
    find?.addEventListener("input", filter);
    addEventListener("keydown", event => {
      if (event.key === "/" && find && !/INPUT|SELECT/.test(document.activeElement.tagName)) { event.preventDefault(); find.focus() }
    });

    let skew = 0; // milliseconds by which the server's clock is ahead
    const now = () => Date.now() + skew;
    const tell = () => all("time[data-rel]").forEach(time => {
      const minutes = Math.round((now() - new Date(time.dateTime)) / 6e4);
      time.title ||= time.textContent;
      if (minutes >= 0) time.textContent = minutes < 1 ? "just now" : minutes < 60 ? `${minutes} min ago`
        : minutes < 2880 ? `${Math.round(minutes / 60)} h ago` : `${Math.round(minutes / 1440)} days ago`;
    });
    tell(); setInterval(tell, 6e4);

    // Through which instants KPIs are built, and when they are late: from the page, or from news that came since.
    const built = {};
    const written = at => {
      const [weekday, date, month, , time] = at.toUTCString().split(/,? /);
      const is_today = at.toUTCString().slice(0, 16) === new Date(now()).toUTCString().slice(0, 16);
      return `built through ${is_today ? "" : `${weekday} ${+date} ${month}, `}${time} UTC`;
    };
    const grow_old = () => {
      if (!document.hidden) all("[data-built]").forEach(place => {
        const { through, due_by } = built[place.dataset.built] ?? {}, own = new Date(place.dataset.through);
        const is_newer = new Date(through) > own, at = is_newer ? new Date(through) : own;
        const late = now() > new Date(is_newer ? due_by : place.dataset.due);
        const seconds = Math.max(0, Math.floor((now() - at) / 1e3)), minutes = Math.floor(seconds / 60);
        const ago = seconds < 120 ? `${seconds} s` : minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`;
        place.querySelector("[data-text]").textContent = `${written(at)}, ${ago} ago`;
        place.querySelector("[data-late]").hidden = !late;
        place.classList.toggle("late", late);
        const badge = late && (place.closest(".tile") ?? document.querySelector(".head")).querySelector(".badge.published, .badge.warned");
        if (badge) { badge.className = "badge late"; badge.title = badge.children[1].textContent = "late"; badge.children[0].textContent = place.dataset.sign }
      });
    };
    grow_old(); setInterval(grow_old, 1e3);

    const last_seen = {};
    const mark = place => {
      const key = "seen:" + place.dataset.seen, last = last_seen[key] ??= +(store[key] ?? Infinity);
      all("[data-publish]", place).forEach(told => {
        if (+told.dataset.publish <= last) return;
        const mark = document.createElement("span");
        mark.className = "new"; mark.textContent = "new"; mark.title = "since you last looked";
        told.prepend(mark, " ");
      });
      store[key] = place.dataset.newest;
      if (last === Infinity) last_seen[key] = +place.dataset.newest;
    };
    all("[data-seen]").forEach(mark);
    if (root.dataset.watch === undefined) return;

    // What changed is said to those who listen to the page, but not with every number.
    const told = document.querySelector("#told"), changed = new Map();
    let said = 0;
    const say = () => {
      if (!changed.size || Date.now() - said < 3e4) return;
      said = Date.now();
      told.textContent = changed.size > 3 ? `${changed.size} numbers have changed.` : [...changed].map(each => [...new Set(each)].join(": ")).join("; ");
      changed.clear();
    };
    setInterval(say, 1e3);
    const texts = part => ["a, h2", ".value, #trend"].map(css => part.querySelector(css)?.textContent.trim().replace(/\s+/g, " ") ?? "");

    const offer = () => {
      if (document.querySelector(".live")) return;
      const button = document.createElement("button");
      button.className = "live"; button.textContent = "Newer numbers were published · show"; button.onclick = () => location.reload();
      document.body.append(button);
    };
    const in_use = part => {
      const active = document.activeElement, selection = getSelection();
      return (part.contains(active) && active.matches("input, select, textarea"))
        || (!selection.isCollapsed && selection.containsNode(part, true));
    };
    const replace = (old, found) => {
      const part = document.importNode(found, true), places = "a, button, summary, [tabindex]", wide = ".wide-table, .flow, pre";
      const focused = all(places, old).indexOf(document.activeElement), scrolled = all(wide, old).map(each => each.scrollLeft);
      const open = all("details", old).map(each => each.open), [title, value] = texts(part);
      all("details", part).forEach((each, n) => each.open = open[n] ?? each.open);
      part.hidden = old.hidden;
      if (value && texts(old)[1] !== value) changed.set(title, value);
      old.replaceWith(part);
      all(wide, part).forEach((each, n) => each.scrollLeft = scrolled[n] ?? 0);
      if (focused >= 0) all(places, part)[focused]?.focus({ preventScroll: true });
      if (part.dataset.seen) mark(part);
      if (part.matches(".tile")) part.classList.add("fresh");
    };
    let tag, is_asking = false, is_old = false;
    const refresh = async () => {
      is_old = true;
      if (is_asking || document.hidden) return;
      is_asking = true;
      try {
        while (is_old) {
          is_old = false;
          const answer = await fetch(location.href, { cache: "no-cache" });
          skew = Date.parse(answer.headers.get("Date")) + 500 - Date.now() || 0; // it has no milliseconds
          if (!answer.ok || answer.headers.get("ETag") === tag) continue;
          const page = new DOMParser().parseFromString(await answer.text(), "text/html"), found = parts_of(page);
          const of_code = on => on.querySelector("script").getAttribute("src");
          if (of_code(page) !== of_code(document) || [...found.keys()].join() !== [...parts.keys()].join()) { offer(); continue }
          const places = all("[data-part]");
          let is_whole = true;
          all("[data-part]", page).forEach((part, n) => {
            const name = part.dataset.part;
            if (found.get(name) === parts.get(name)) return;
            if (in_use(places[n])) { is_whole = false; return }
            replace(places[n], part);
            parts.set(name, found.get(name));
          });
          tag = is_whole ? answer.headers.get("ETag") : undefined;
          tell(); grow_old(); say();
        }
      } catch { /* the server does not answer now; news come as soon as it does */ }
      is_asking = false;
    };

    // A page that nobody looks at asks for nothing.
    let events, versions = {};
    const close = () => { events?.close(); events = undefined };
    const open = () => {
      if (events || document.hidden) return;
      events = new EventSource("/api/v1/events");
      events.onopen = () => versions = {};
      events.addEventListener("news", event => {
        const before = JSON.stringify(versions);
        for (const [name, each] of Object.entries(JSON.parse(event.data).pipelines)) {
          Object.assign(built, each.built);
          if (!root.dataset.watch || root.dataset.watch === name) versions[name] = each.version;
        }
        grow_old();
        if (JSON.stringify(versions) !== before) refresh();
      });
      events.onerror = () => {
        if (events?.readyState !== EventSource.CLOSED) return; // it connects again by itself
        close(); setTimeout(() => { open(); refresh() }, 3e4);
      };
    };
    document.addEventListener("visibilitychange", () => document.hidden ? close() : (grow_old(), open()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", open);
    open();
  });
})();
