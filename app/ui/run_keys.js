/* Ctrl+Enter, or Cmd+Enter, presses the main button of what one is working on: of the experiment of a chapter that has the
   focus, of Explore's frontier, or else of the open tab. The button says so to those who have a mouse, and a keyboard. */
(() => {
  const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
  const WORDS = window.GRADIO_WORDS.find(({ en }) => en.startsWith(isMac ? "⌘" : "Ctrl"));
  const MAIN = "#go button.primary, .go:not(#maths *) button.primary, .go[class*='experiment-of-'] button.primary";

  const mainButton = (focused) => {
    const own = [...(focused?.closest("[class*='experiment-of-']")?.classList ?? [])].find((one) => one.startsWith("experiment-of-"));
    if (own) return document.querySelector(`.go.${CSS.escape(own)} button.primary`);
    const frontier = focused?.closest(".frontier");
    if (frontier) return frontier.querySelector("button.lg");
    return [...document.querySelectorAll(MAIN)].find((button) => button.getBoundingClientRect().height && !button.closest("#maths"));
  };

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.repeat || document.querySelector("dialog[open]")) return;
    const button = mainButton(document.activeElement);
    if (!button) return;
    event.preventDefault();
    event.stopPropagation();
    button.click(); // a disabled one does nothing
  }, true);

  if (!matchMedia("(hover: hover)").matches) return;
  new MutationObserver(() => {
    for (const button of document.querySelectorAll(MAIN)) {
      if (button.hasAttribute("aria-keyshortcuts")) continue;
      button.setAttribute("aria-keyshortcuts", "Control+Enter Meta+Enter");
      button.title = WORDS[LANGUAGE_OF[document.documentElement.lang]] ?? WORDS.en; // words.js follows the language
    }
  }).observe(document, { childList: true, subtree: true });
})();
