/* The values at a place of a plot: under the mouse, where a finger taps or slides, and by the arrow keys. Vega draws every
   point with its row of numbers at hand (charts.py words it: `at`, `name`, `said`); its own tooltips would tell only of the
   first point of a line, in English, and to a mouse. */
(() => {
  const PLOT = ".vega-embed svg.marks", MOST = 8, NEAR_PIXELS = 1;
  let open = null; // the plot whose values are shown, and the place among its `columns`, for the keys

  /* Every named point that the plot shows, with its place on the screen. */
  const pointsOf = (svg) => {
    const frame = svg.querySelector(".role-frame .background").getBoundingClientRect(), found = new Map();
    const isInside = ({ x, y }) => x >= frame.left - 1 && x <= frame.right + 1 && y >= frame.top - 1 && y <= frame.bottom + 1;
    for (const mark of svg.querySelectorAll("g.role-mark")) {
      const first = [mark.firstElementChild?.__data__].flat()[0], screen = mark.getScreenCTM();
      for (const item of first?.mark?.items ?? []) {
        const { at, name, said } = item.datum ?? {};
        if (said === undefined) continue;
        const place = new DOMPoint(item.x + (item.width ?? 0) / 2, item.y).matrixTransform(screen);
        const color = [item.stroke, item.fill].find((one) => one && one !== "transparent");
        const point = { at, name, said, color, x: place.x, y: place.y }, key = `${at}\n${name}\n${said}`;
        if (isInside(point) && !found.has(key)) found.set(key, point); // a line's dots are drawn twice
      }
    }
    return [...found.values()];
  };
  /* The points that stand above each other, from left to right. */
  const columnsOf = (svg) => {
    const columns = [];
    for (const point of pointsOf(svg).sort((a, b) => a.x - b.x)) {
      const last = columns.at(-1);
      if (last && last[0].at === point.at && point.x - last[0].x <= NEAR_PIXELS) last.push(point);
      else columns.push([point]);
    }
    return columns;
  };
  const made = (kind, text, style = {}) => {
    const element = document.createElement(kind);
    element.textContent = text;
    Object.assign(element.style, style);
    return element;
  };
  const box = () => document.getElementById("plot-values") ?? (() => {
    const fresh = made("div", "");
    fresh.id = "plot-values";
    document.querySelector(".gradio-container").append(fresh);
    return fresh;
  })();

  const show = (svg, points, isByKeys) => {
    const shown = [...points].sort((a, b) => a.y - b.y).slice(0, MOST), values = made("div", "");
    values.setAttribute("aria-live", isByKeys ? "polite" : "off");
    values.append(made("b", shown[0].at));
    for (const { name, said, color } of shown) {
      const line = made("p", "");
      line.append(made("i", "", { background: color }), made("span", name), made("span", said));
      values.append(line);
    }
    const dots = shown.map(({ x, y, color }) => made("i", "", { left: `${x}px`, top: `${y}px`, borderColor: color }));
    box().replaceChildren(...dots, values);
    const { width, height } = values.getBoundingClientRect(), wide = document.documentElement.clientWidth;
    const right = shown[0].x + 14, left = right + width > wide - 4 ? shown[0].x - 14 - width : right;
    const top = svg.getBoundingClientRect().top + 4;
    Object.assign(values.style, {
      left: `${Math.max(4, Math.min(left, wide - width - 4))}px`,
      top: `${Math.max(4, left < 4 ? top - height : top)}px`, // too wide for either side: above the plot
    });
    open = { svg };
  };
  const hide = () => {
    open = null;
    document.getElementById("plot-values")?.replaceChildren();
  };
  const showNear = (svg, { clientX, clientY }) => {
    const away = ({ x, y }) => Math.hypot(x - clientX, (y - clientY) / 3); // rather the same place than the same height
    const columns = columnsOf(svg).map((points) => [points, Math.min(...points.map(away))]);
    if (columns.length) show(svg, columns.reduce((best, one) => (one[1] < best[1] ? one : best))[0], false);
  };

  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest?.(PLOT), isFinger = event.pointerType === "touch";
    if (svg && (!isFinger || Math.abs(event.movementX) > Math.abs(event.movementY))) showNear(svg, event);
    else if (!svg && open && !isFinger && open.svg !== document.activeElement) hide();
  });
  document.addEventListener("click", (event) => {
    const svg = event.target.closest?.(PLOT);
    if (svg) showNear(svg, event);
    else if (open) hide();
  });
  let place = 0;
  const step = (svg, to) => {
    const columns = columnsOf(svg);
    place = Math.max(0, Math.min(to(place, columns.length - 1), columns.length - 1));
    if (columns.length) show(svg, columns[place], true);
  };
  const STEPS = {
    ArrowLeft: (at) => at - 1, ArrowRight: (at) => at + 1, PageDown: (at) => at + 10, PageUp: (at) => at - 10,
    Home: () => 0, End: (_, last) => last,
  };
  document.addEventListener("keydown", (event) => {
    const svg = event.target.closest?.(PLOT);
    if (event.key === "Escape") hide();
    if (!svg || !STEPS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    step(svg, STEPS[event.key]);
  });
  document.addEventListener("focusin", ({ target }) => {
    if (target.matches?.(PLOT) && target.matches(":focus-visible")) step(target, () => 0);
  });
  document.addEventListener("focusout", ({ target }) => target.matches?.(PLOT) && hide());
  document.addEventListener("scroll", () => open && open.svg !== document.activeElement && hide(), { capture: true, passive: true });

  new MutationObserver(() => {
    for (const svg of document.querySelectorAll(`${PLOT}:not([tabindex])`)) svg.setAttribute("tabindex", "0");
    if (open && !open.svg.isConnected) hide(); // drawn anew
  }).observe(document, { childList: true, subtree: true });
})();
