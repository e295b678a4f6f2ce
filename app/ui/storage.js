/* A browser that blocks the storage of other sites, as private windows do, refuses it to a Space's frame: the page then
   remembers for as long as it is open. Gradio's BrowserState would not let the page open at all. */
for (const name of ["localStorage", "sessionStorage"])
  try {
    window[name];
  } catch {
    const kept = new Map();
    const value = {
      getItem: (key) => kept.get(String(key)) ?? null,
      setItem: (key, text) => kept.set(String(key), String(text)),
      removeItem: (key) => kept.delete(String(key)),
      clear: () => kept.clear(),
      key: (place) => [...kept.keys()][place] ?? null,
      get length() { return kept.size; },
    };
    Object.defineProperty(window, name, { value, configurable: true });
  }
