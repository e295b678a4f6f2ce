/* The description of the endpoints: a link in the page's foot unfolds it, and a link with ?tab=api comes to it. */
(() => {
  const show = () => document.getElementById("api")?.scrollIntoView();

  document.addEventListener("click", (event) => {
    if (!event.target.closest("a[data-opens='api']")) return;
    event.preventDefault();
    document.querySelector("#api button.label-wrap:not(.open)")?.click();
    show();
  });

  if (new URLSearchParams(location.search).get("tab") !== "api") return;
  const drawn = new MutationObserver(() => {
    if (!document.querySelector("body.ready #api .reference")) return;
    drawn.disconnect();
    requestAnimationFrame(show);
  });
  drawn.observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["class"] });
})();
