/* -1 in a seed field is any seed, as in other programs: the field then shows the one that was drawn, so that pictures, link
   and script all name it. No other listener hears of -1. */
document.addEventListener("input", ({ target }) => {
  if (target.value === "-1" && target.matches?.(".control-seed input")) target.value = Math.floor(Math.random() * 1000000);
}, true);
