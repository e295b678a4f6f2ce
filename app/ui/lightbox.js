/* A click on a picture shows it large, in the dialog that lightbox.py makes. With Ctrl, Meta or Shift, or another button of
   the mouse, the browser follows the picture's link as usual. */
(() => {
  const FAR_PIXELS = 40; // a swipe
  let pictures = [], at = 0, start = null; // of the open gallery; where the finger came down

  const dialog = () => document.querySelector("#lightbox dialog");
  const find = (selector) => dialog().querySelector(selector);

  const show = (place) => {
    at = (place + pictures.length) % pictures.length;
    const picture = pictures[at], image = find("img");
    image.onload = () => image.classList.toggle("large", image.naturalWidth > image.clientWidth);
    image.src = picture.href;
    image.alt = picture.title;
    find("#lightbox-caption").textContent = picture.title;
    find(".place").textContent = pictures.length > 1 ? `${at + 1} / ${pictures.length}` : "";
    find(".save").href = picture.href;
    find(".save").download = picture.download;
    for (const step of dialog().querySelectorAll(".back, .forth")) step.hidden = pictures.length < 2;
    for (const button of dialog().querySelectorAll("[data-action]")) button.hidden = !(button.dataset.needs in picture.dataset) || button.dataset.notIn === picture.dataset.tab;
    for (const said of dialog().querySelectorAll("[data-done]")) said.hidden = true;
  };

  /* What of the page is on the screen: inside a Space's frame, which can be as high as the page, only a part. The dialog
     fills that part. */
  const fit = () => new Promise((done) => {
    if (window.parent === window) return done();
    new IntersectionObserver(([{ intersectionRect: box }], observer) => {
      observer.disconnect();
      dialog().style.setProperty("--top", `${Math.round(box.top)}px`);
      dialog().style.setProperty("--height", `${Math.round(box.height)}px`);
      done();
    }).observe(document.documentElement);
  });

  const open = async (picture) => {
    pictures = [...(picture.closest("[data-gallery]") ?? picture.parentElement).querySelectorAll("a.zoom")];
    show(pictures.indexOf(picture));
    await fit(); // before the dialog opens: its focus would scroll to where it is
    dialog().showModal();
    find(".close").focus();
    history.pushState({ ...history.state, isLarge: true }, ""); // Back closes the picture, and nothing else
  };
  /* The picture on the page that was shown last; a run that goes on draws its pictures again. */
  const shown = () => {
    const one = pictures[at];
    return one.isConnected ? one : [...document.querySelectorAll("a.zoom")].find((other) => other.title === one.title && other.offsetParent);
  };
  const leave = () => {
    close();
    if (history.state?.isLarge) history.back();
  };
  const close = () => {
    dialog().close();
    const picture = shown();
    (picture?.offsetParent ? picture : picture?.parentElement.querySelector("a.zoom"))?.focus();
  };
  /* Whether a click hit the picture, and not the empty room beside it. */
  const isHit = (event, image) => {
    const box = image.getBoundingClientRect(), { naturalWidth: width, naturalHeight: height } = image;
    const scale = Math.min(box.width / width, box.height / height);
    const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    return Math.abs(x) <= (width * scale) / 2 && Math.abs(y) <= (height * scale) / 2;
  };
  const act = (button) => {
    const { action } = button.dataset, picture = pictures[at];
    if ("closes" in button.dataset) leave();
    (shown() ?? document).dispatchEvent(new CustomEvent("picture-action", { bubbles: true, detail: { action, picture } }));
    const said = find(`[data-done="${action}"]`);
    if (said) said.hidden = false;
  };

  document.addEventListener("click", (event) => {
    const { target } = event, picture = target.closest?.("a.zoom");
    if (picture && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      open(picture);
    } else if (target.closest?.("#lightbox")) {
      const button = target.closest("button");
      if (button?.matches(".back")) show(at - 1);
      else if (button?.matches(".forth")) show(at + 1);
      else if (button?.dataset.action) act(button);
      else if (!target.closest(".save, #lightbox-caption") && !(target.matches("img") && isHit(event, target))) leave();
    }
  });
  addEventListener("popstate", () => { if (dialog()?.open) close(); });
  document.addEventListener("keydown", (event) => {
    if (!dialog()?.open) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") {
      event.preventDefault();
      leave();
    } else if (step) {
      event.preventDefault();
      show(at + step);
    }
  });
  // The back button of a phone asks the dialog to close, without a key
  document.addEventListener("cancel", (event) => {
    if (event.target !== dialog()) return;
    event.preventDefault();
    leave();
  }, true);

  document.addEventListener("touchstart", (event) => {
    const { touches, target } = event;
    start = touches.length === 1 && target.closest?.("#lightbox dialog") ? touches[0] : null;
  }, { passive: true });
  document.addEventListener("touchend", (event) => {
    if (!start || !dialog().open) return;
    const end = event.changedTouches[0], right = end.clientX - start.clientX, down = end.clientY - start.clientY;
    start = null;
    if (Math.abs(right) > FAR_PIXELS && Math.abs(right) > Math.abs(down)) show(at + (right < 0 ? 1 : -1));
  }, { passive: true });

  // The seed of a picture becomes the seed of its tab
  document.addEventListener("picture-action", ({ target, detail: { action, picture } }) => {
    if (action !== "seed") return;
    const seed = target.closest?.('[role="tabpanel"]')?.querySelector(".control-seed input");
    if (!seed) return;
    seed.value = picture.dataset.seed;
    seed.dispatchEvent(new Event("input", { bubbles: true }));
  });
})();
