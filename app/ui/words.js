// Keep what is read aloud in the page's language: attributes that have their words in every language (html.py, `said`),
// and the English that Gradio and Vega write into others.
(() => {
    const ATTRIBUTES = ["aria-label", "aria-roledescription", "title", "placeholder", "alt"];
    const SELECTOR = [...ATTRIBUTES, "data-words"].map((name) => `[${name}]`).join(", ");
    const plain = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const pattern = (text) => new RegExp(`^${text.split("{label}").map(plain).join("(.+)")}$`);
    const entries = window.GRADIO_WORDS.map((entry) => ({ entry, patterns: Object.values(entry).map(pattern) }));
    const spoken = () => LANGUAGE_OF[document.documentElement.lang];

    function worded(text, language) {
        for (const { entry, patterns } of entries) {
            const found = patterns.map((one) => text.match(one)).find(Boolean);
            if (found && entry[language]) return entry[language].replace("{label}", () => found[1]);
        }
        return text;
    }

    function word(element, language) {
        // Vega names the kind of every part of a plot; the plot as a whole has a description
        if (element.ownerSVGElement) element.removeAttribute("aria-roledescription");
        const own = JSON.parse(element.dataset.words ?? "{}");
        for (const name of ATTRIBUTES) {
            const text = element.getAttribute(name);
            const said = own[name]?.[language] ?? (text && worded(text, language));
            if (text !== said) element.setAttribute(name, said);
        }
    }

    // A plot has one description; its parts, which Vega gives roles but no names, are its picture
    const PARTS = "svg.marks [role^='graphics-']";
    const hide = (part) => part.setAttribute("aria-hidden", "true");

    function wordAll(root) {
        const language = spoken();
        if (root.matches?.(PARTS)) hide(root);
        root.querySelectorAll?.(PARTS).forEach(hide);
        if (root.matches?.(SELECTOR)) word(root, language);
        root.querySelectorAll?.(SELECTOR).forEach((element) => word(element, language));
    }

    new MutationObserver((changes) => {
        for (const change of changes) {
            if (change.type === "childList") change.addedNodes.forEach(wordAll);
            else if (change.attributeName === "lang") {
                if (change.target === document.documentElement) wordAll(document);
            } else word(change.target, spoken());
        }
    }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: [...ATTRIBUTES, "data-words", "lang"] });
})();
