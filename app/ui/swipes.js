/* A finger that starts on a slider: a vertical swipe scrolls the page and leaves the value as it was; a horizontal drag and
   a tap set it. Browsers move the slider as soon as a finger is down, before anybody knows which of these it will be: until
   then no listener hears of that, and the value is put back. `touch-action: pan-y` (style.css) lets the page scroll. */
(() => {
  const FEW_PIXELS = 6;
  let touch = null; // the slider under the finger, where the finger came down, and the slider's value then

  const set = (range, value) => {
    if (range.value === value) return;
    range.value = value;
    range.dispatchEvent(new Event("input", { bubbles: true }));
    range.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const valueAt = (range, x) => {
    const box = range.getBoundingClientRect(), thumb = parseFloat(getComputedStyle(range).getPropertyValue("--thumb")) || 16;
    const along = (x - box.left - thumb / 2) / (box.width - thumb), [least, most] = [Number(range.min), Number(range.max)];
    const probe = range.cloneNode(); // a range input rounds to its own steps
    probe.value = least + Math.min(Math.max(along, 0), 1) * (most - least);
    return probe.value;
  };

  document.addEventListener("touchstart", (event) => {
    const range = event.target.closest?.('input[type="range"]');
    if (touch && touch.range !== range) return; // a second finger elsewhere
    const finger = event.touches[0];
    touch = null;
    if (range && !range.disabled && event.touches.length === 1)
      touch = { range, x: finger.clientX, y: finger.clientY, value: range.value, isDrag: false, isSwipe: false };
  }, { capture: true, passive: true });

  document.addEventListener("touchmove", (event) => {
    if (!touch || touch.isDrag || touch.isSwipe) return;
    const right = Math.abs(event.touches[0].clientX - touch.x), down = Math.abs(event.touches[0].clientY - touch.y);
    if (Math.max(right, down) < FEW_PIXELS) return;
    touch.isDrag = right >= down;
    touch.isSwipe = !touch.isDrag;
  }, { capture: true, passive: true });

  document.addEventListener("touchend", (event) => {
    if (!touch || event.touches.length) return;
    const { range, isDrag, isSwipe, x } = touch;
    touch = null;
    if (!isDrag && !isSwipe) set(range, valueAt(range, x));
  }, { capture: true, passive: true });

  // The browser has taken the gesture, to scroll
  document.addEventListener("touchcancel", () => {
    if (!touch) return;
    const { range, value } = touch;
    touch = null;
    set(range, value);
  }, { capture: true, passive: true });

  for (const name of ["input", "change"])
    window.addEventListener(name, (event) => {
      if (!touch || event.target !== touch.range || touch.isDrag) return;
      event.stopImmediatePropagation();
      touch.range.value = touch.value;
    }, true);
})();
