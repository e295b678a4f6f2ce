// The slider over the final pictures: one cut for all pairs. It also follows a finger or a mouse on the pictures.
{
    const cutAt = (over, value) => {
        const share = Math.round(Math.min(100, Math.max(0, value)));
        over.querySelector("input").value = share;
        over.style.setProperty("--cut", `${share}%`);
        over.classList.toggle("only-a", share >= 100);
        over.classList.toggle("only-b", share <= 0);
    };
    const cutUnder = (event) => {
        const pair = event.target.closest?.(".over .pair");
        if (!pair || event.target.closest(".zoom")) return;
        const box = pair.getBoundingClientRect();
        cutAt(pair.closest(".over"), (100 * (event.clientX - box.left)) / box.width);
    };
    document.addEventListener("input", (event) => {
        if (event.target.matches?.(".over input")) cutAt(event.target.closest(".over"), Number(event.target.value));
    });
    document.addEventListener("click", cutUnder);
    // A vertical swipe is the browser's, since style.css says touch-action: pan-y; it then sends no further moves
    document.addEventListener("pointermove", (event) => {
        if (event.buttons && Math.abs(event.movementX) > Math.abs(event.movementY)) cutUnder(event);
    });
}
