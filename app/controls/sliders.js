/* Sliders with a scale of their own, and chips: buttons that set a slider's value. Gradio keeps the value, as a plain
   number in the box beside the track; here a logarithmic track and the chips write into that box, as typing does. */
(() => {
  // A decade of a logarithmic track: round values about 7% apart, as people choose them
  const DIGITS = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48,
    50, 55, 60, 65, 70, 75, 80, 85, 90, 95];

  const numberOf = (block) => block.querySelector('input[type="number"]');
  const setNumber = (block, value) => {
    const number = numberOf(block);
    number.value = value;
    number.dispatchEvent(new Event("input", { bubbles: true }));
  };

  /* Every value that a track stops at: its ends, the round ones between them, and those that it has to hit. */
  const stopsBetween = (least, most, hits) => {
    const stops = [least, most, ...hits];
    for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.log10(most); power++)
      stops.push(...DIGITS.map((digits) => Number(`${digits}e${power}`)));
    return [...new Set(stops)].filter((stop) => least <= stop && stop <= most).sort((a, b) => a - b);
  };
  const nearest = (stops, value) => {
    const away = stops.map((stop) => Math.abs(Math.log(stop / value)));
    return away.indexOf(Math.min(...away));
  };

  /* Put a logarithmic track in the place of Gradio's own, which stays, unseen, and says when the value changes. */
  const drawTrack = (own) => {
    const block = own.closest(".log-scale"), track = own.cloneNode();
    let stops = [];
    for (const name of ["id", "name", "data-testid"]) track.removeAttribute(name);
    track.classList.add("track");
    own.hidden = true;
    own.after(track);
    const follow = () => {
      const value = Number(numberOf(block).value), [least, most] = [Number(own.min), Number(own.max)];
      const hits = [...block.classList].filter((one) => one.startsWith("hits-")).map((one) => Number(one.slice(5)));
      stops = stopsBetween(least, most, hits);
      const place = nearest(stops, value > 0 ? value : least), last = stops.length - 1;
      Object.assign(track, { min: 0, max: last, step: 1, disabled: own.disabled });
      track.value = place;
      track.style.setProperty("--range_progress", `${(100 * place) / last}%`);
      track.setAttribute("aria-label", own.getAttribute("aria-label"));
      track.setAttribute("aria-valuetext", String(value));
    };
    track.addEventListener("input", () => setNumber(block, stops[track.value]));
    const changes = new MutationObserver(follow);
    changes.observe(own, { attributes: true, attributeFilter: ["style", "min", "max", "disabled", "aria-label"] });
    changes.observe(block, { attributes: true, attributeFilter: ["class"] });
    follow();
  };

  /* The slider of a group of chips: of several of its name, in several forms, the one that shares the form with it. */
  const sliderOf = (chips) => {
    const name = CSS.escape(`control-${chips.dataset.control}`);
    let form = chips.parentElement;
    while (form && !form.querySelector(`.${name}`) && form.id !== "page") form = form.parentElement;
    return form?.querySelector(`.${name}`);
  };
  const press = (chips, block) => {
    const value = Number(numberOf(block).value);
    for (const chip of chips.children) {
      const pressed = String(Number(chip.dataset.value) === value);
      if (chip.getAttribute("aria-pressed") !== pressed) chip.setAttribute("aria-pressed", pressed);
    }
  };
  // Group of chips -> the slider that it follows, and the observer that does. While its own slider is not drawn yet, it
  // can find another form's; two observers at once would press the chips of two values in turn, for ever
  const followed = new WeakMap();
  const connect = (chips) => {
    const block = sliderOf(chips);
    chips.hidden = !block;
    const before = followed.get(chips);
    if (before?.block === block) return;
    before?.changes.disconnect();
    followed.delete(chips);
    if (!block) return;
    press(chips, block);
    const changes = new MutationObserver(() => chips.isConnected && press(chips, block));
    changes.observe(block.querySelector('input[type="range"]'), { attributes: true, attributeFilter: ["style"] });
    // In another language or for another checkpoint Gradio rewrites the chips where they are, none of them pressed
    changes.observe(chips, { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-pressed", "data-value"] });
    followed.set(chips, { block, changes });
  };

  document.addEventListener("click", (event) => {
    const chip = event.target.closest?.(".chips button"), block = chip && sliderOf(chip.parentElement);
    if (block && !numberOf(block).disabled) setNumber(block, chip.dataset.value);
  });
  // Gradio draws a control when its tab or group is opened, and again when it comes back
  new MutationObserver(() => {
    document.querySelectorAll('.log-scale input[type="range"]:not(.track, [hidden])').forEach(drawTrack);
    document.querySelectorAll(".chips").forEach(connect);
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
