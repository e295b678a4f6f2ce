/* A saved picture can be dropped anywhere on Generate, not only on its box. Dropped on another tab, a file does nothing:
   without this, the browser would leave the page for it. */
(() => {
  const isFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const isPng = (file) => file.type === "image/png" || /\.png$/i.test(file.name);
  const put = (file, tries = 40) => { // the box comes when its group opens, and its input when no other file lies there
    const box = document.getElementById("recipe-file"), input = box?.querySelector("input[type=file]");
    if (!input) {
      box?.querySelector(".icon-button-wrapper button")?.click();
      if (tries) setTimeout(put, 100, file, tries - 1);
      return;
    }
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  addEventListener("dragover", (event) => { if (isFile(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!isFile(event) || event.defaultPrevented) return;
    event.preventDefault();
    const file = [...event.dataTransfer.files].find(isPng);
    const group = document.querySelector("#controls .group-recipe > button.label-wrap");
    if (!file || !group?.offsetParent) return;
    if (!group.classList.contains("open")) group.click();
    put(file);
  });
})();
