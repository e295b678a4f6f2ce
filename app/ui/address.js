/* The address follows what is on the page. Each tab marks what it shows with the address that opens it (data-address)
   and with all of its settings (data-state); the mark of the open tab becomes the address. Another tab, chapter, preset
   or checkpoint, a bundle of settings, and the first change after a run are new entries of the browser's history; single
   settings rewrite the newest, and so does what else changes at the same touch. Until a visitor touches the page, it
   shows what the address asked for, in whatever words. */
window.address = (() => {
  const KEY = "ddpm-lab-visit", MOST = 3; // settings that change together: more of them are a preset, a link or a file
  const PLACES = /^tab$|^chapter$|^preset$|(^|\.)checkpoint$/;
  const RUNS = /^(generate|explore|compare\.)/; // where the lightbox sends a picture's run
  const SPACE = "https://huggingface.co"; // around a Space's page: its address gets the query too
  let here = null, search = location.search, isCalm = true, isNoted = false, isSent = false, isStarting = false, wish = null, asked = null;

  const noted = () => {
    try { return JSON.parse(sessionStorage.getItem(KEY)) ?? {}; } catch { return {}; } // no storage in some frames
  };
  const note = (changes) => {
    try { sessionStorage.setItem(KEY, JSON.stringify({ ...noted(), ...changes })); } catch { /* then nothing is kept */ }
  };
  const fields = (query) => new URLSearchParams(query);
  const tabOf = (query) => fields(query).get("tab") ?? "generate";
  const isNew = (before, now) => {
    const [a, b] = [fields(before), fields(now)];
    const changed = [...new Set([...a.keys(), ...b.keys()])].filter((name) => a.get(name) !== b.get(name));
    return history.state?.ran || changed.length > MOST || changed.some((name) => PLACES.test(name));
  };
  const write = (query, how) => {
    const asked = fields(query), theme = fields(location.search).get("__theme");
    if (theme) asked.set("__theme", theme);
    search = String(asked) && `?${asked}`;
    history[how]({}, "", location.pathname + search + location.hash);
    if (window.parent !== window) window.parent.postMessage({ queryString: String(fields(query)) }, SPACE);
  };
  const follow = () => {
    const mark = [...document.querySelectorAll("[data-address]")].find((one) => one.getClientRects().length);
    if (!mark || mark.dataset.state === here) return;
    const before = here, { address: now, state } = mark.dataset;
    here = state;
    note({ tabs: { ...noted().tabs, [tabOf(now)]: now } });
    if (isCalm || before === null) return;
    const isEntry = !isNoted && isNew(before, state);
    isNoted ||= isEntry;
    write(now, isEntry ? "pushState" : "replaceState");
  };
  let isDue = false;
  new MutationObserver(() => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => { isDue = false; if (document.body.classList.contains("ready")) follow(); });
  }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-address", "data-state", "aria-selected", "class"] });

  for (const name of ["pointerdown", "keydown", "input"]) addEventListener(name, () => { isCalm = isNoted = false; }, { capture: true });
  const send = () => {
    asked = wish;
    address.isOpening = true;
    address.opens(wish.query, wish.to);
  };
  /* Asks the server; while an answer is on its way, the newest wish waits. */
  const ask = (query, to) => {
    wish = { query, to };
    if (!address.isOpening) send();
  };
  addEventListener("popstate", () => {
    if (location.search === search) return; // a place within the page
    search = location.search;
    here = null;
    isCalm = true;
    isStarting = false;
    if (address.opens) ask(search, null);
  });
  // A link to settings opens them in this page; with Ctrl, Meta or Shift the browser follows it as usual
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("#page a[href^='?']:not([data-opens])"), sends = event.target.closest?.("[data-send]");
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || !address.opens) return;
    if (sends) {
      isSent = true;
      ask(sends.dataset.query, sends.dataset.send);
    } else if (link && !link.target && !fields(link.search).has("view")) {
      event.preventDefault();
      write(link.search, "pushState");
      here = null;
      isCalm = isSent = true;
      isStarting = "starts" in link.dataset;
      ask(link.search, null);
    }
  });
  document.addEventListener("picture-action", ({ detail: { action, picture } }) => {
    if (!RUNS.test(action)) return;
    isSent = true;
    ask(picture.dataset.query, action);
  });

  return {
    opens: null, // set by app/ui/address.py
    isOpening: false, // what was asked for is on its way
    /* Returns what this tab of the browser knows: who the visitor is, and where they were. */
    recall: () => {
      const visitor = noted().visitor ?? [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      const { cut = "" } = noted();
      note({ visitor, cut: "" });
      const type = performance.getEntriesByType("navigation")[0]?.type;
      return JSON.stringify({
        visitor, query: location.search.slice(1), tabs: noted().tabs ?? {}, is_again: type === "reload" || type === "back_forward", cut,
      });
    },
    /* A run begins with the settings that the address holds. progress: the id of its line. */
    ran: (progress) => {
      history.replaceState({ ran: true }, "");
      note({ cut: progress });
    },
    ended: () => note({ cut: "" }),
    /* What was asked for is on the page: whoever followed a link or sent a run is at the top of it. */
    arrive: () => {
      address.isOpening = false;
      if (wish !== asked) return send();
      if (isSent) scrollTo({ top: 0 });
      if (isStarting) [...document.querySelectorAll("#go button.primary, .go button.primary")].find((one) => one.offsetParent)?.click();
      isSent = isStarting = false;
    },
  };
})();
