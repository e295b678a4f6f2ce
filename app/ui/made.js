/* Says at results when the controls no longer hold the settings that made them. Both the results and the line that tells
   what the controls would do carry a key: equal keys make equal pictures. */
new MutationObserver(() => {
  for (const made of document.querySelectorAll("[data-key]:not(.plan)")) {
    const plan = made.closest("[role=tabpanel]")?.querySelector(".plan");
    if (plan) made.classList.toggle("moved", plan.dataset.key !== made.dataset.key);
  }
}).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-key"] });
