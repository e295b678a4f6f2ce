// Says below the pictures when the controls no longer hold the settings that made them. Both the pictures and the line
// above them, which tells what the controls would do, carry a key: equal keys make equal pictures.
new MutationObserver(() => {
    const made = document.querySelector("#stage .stage[data-key]");
    const plan = document.querySelector("#show .plan");
    if (made && plan) made.classList.toggle("moved", plan.dataset.key !== made.dataset.key);
}).observe(document, {childList: true, subtree: true, attributes: true, attributeFilter: ["data-key"]});
