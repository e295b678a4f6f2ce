/* What a visitor waits for is on the screen: a job's progress from the click on, its result at the end, and what is wrong
   with a link when it opens. Whoever sees it already, or has moved the page meanwhile, is left where they are. */
window.onScreen = (() => {
  const PHONE = matchMedia("(max-width: 800px)"), STILL = matchMedia("(prefers-reduced-motion: reduce)");
  const LINK_SECONDS = 15; // a chapter is drawn a while after the page
  const CHANGES = { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] };
  let job = null; // the ids of its progress line and result; whether it runs, and whether the visitor moved the page

  /* At least as much of it as there is, or half a screen, lies above the bars at the bottom. */
  const isSeen = (element) => {
    const box = element.getBoundingClientRect();
    const bars = [...document.querySelectorAll("#go, .progress.busy")].filter((bar) => getComputedStyle(bar).position === "fixed");
    const bottom = Math.min(innerHeight, ...bars.map((bar) => bar.getBoundingClientRect()).filter((bar) => bar.height).map((bar) => bar.top));
    const seen = Math.min(box.bottom, bottom) - Math.max(box.top, 0);
    return bars.includes(element) || seen >= Math.min(box.height, bottom / 2) - 1;
  };
  const show = (element) => {
    if (!element?.getBoundingClientRect().height || isSeen(element)) return;
    element.scrollIntoView({ block: "start", behavior: STILL.matches ? "auto" : "smooth" });
  };
  const moved = () => { if (job) job.isMoved = true; };
  for (const name of ["wheel", "touchmove", "keydown"]) document.addEventListener(name, moved, { capture: true, passive: true });

  const follow = () => {
    if (!job) return;
    const line = document.querySelector(`#${CSS.escape(job.progress)} .progress`);
    const isRunning = Boolean(line?.classList.contains("busy")), result = document.getElementById(job.result);
    if (isRunning && !job.isRunning) {
      job.isRunning = true;
      window.address.ran(job.progress);
      // On a phone the line is a bar at the bottom, whatever else is on the screen; the result can be there from the start
      if (PHONE.matches) show(result); else show(line);
    } else if (!isRunning && job.isRunning) {
      const { isMoved } = job;
      job = null;
      window.address.ended();
      changes.disconnect();
      if (!isMoved) requestAnimationFrame(() => requestAnimationFrame(() => show(document.getElementById(result?.id))));
    }
  };
  const changes = new MutationObserver(follow);

  return {
    /* A button that starts a job was pressed. */
    begin: (progress, result) => {
      job = { progress, result, isRunning: false, isMoved: false };
      changes.observe(document.documentElement, CHANGES);
    },
    /* The page is filled. If a link opened it, what is wrong with the link comes on the screen as soon as it is drawn. */
    open: () => {
      if (!location.search) return;
      const draws = new MutationObserver(() => find());
      const find = () => {
        const wrong = [...document.querySelectorAll(".notice.broken, .plan.wrong")].find((one) => one.checkVisibility({ visibilityProperty: true }));
        if (!wrong) return;
        stop();
        requestAnimationFrame(() => show(wrong));
      };
      const stop = () => draws.disconnect();
      draws.observe(document.documentElement, CHANGES);
      setTimeout(stop, 1000 * LINK_SECONDS);
      for (const name of ["wheel", "touchmove", "keydown", "pointerdown"]) document.addEventListener(name, stop, { once: true, capture: true, passive: true });
      find();
    },
  };
})();
