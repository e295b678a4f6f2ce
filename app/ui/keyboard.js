/* What Gradio's controls lack for those who work with the keyboard. */
document.addEventListener("focusout", ({ target: list }) => {
  // A list opens again behind a visitor who leaves it with Tab, and stays open. It closes at a second "blur"
  if (!list.matches?.('input[role="combobox"]')) return;
  setTimeout(() => {
    const isOpen = list.getAttribute("aria-expanded") === "true" && document.activeElement !== list;
    if (isOpen) list.dispatchEvent(new FocusEvent("blur"));
  }, 60);
});
document.addEventListener("keydown", ({ target: choice }) => {
  // Choices of one name are one stop for Tab, and the arrow keys move between them; Gradio names each differently
  if (!choice.matches?.('fieldset input[type="radio"]')) return;
  for (const other of choice.closest("fieldset").querySelectorAll('input[type="radio"]')) other.name = choice.name;
}, true);
