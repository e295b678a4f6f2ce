/* Gradio opens a list again behind a visitor who leaves it with Tab, and leaves it open. It closes at a second "blur". */
document.addEventListener("focusout", ({ target: list }) => {
  if (!list.matches?.('input[role="combobox"]')) return;
  setTimeout(() => {
    const isOpen = list.getAttribute("aria-expanded") === "true" && document.activeElement !== list;
    if (isOpen) list.dispatchEvent(new FocusEvent("blur"));
  }, 60);
});
