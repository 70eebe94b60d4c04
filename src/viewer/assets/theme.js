// The reader's choice of light or dark, put on the page before anything is painted; hence not a module.
// Without a choice the system's is followed. `nextTheme` is called by the button in the page's head.

(() => {
  const KEY = "theme";
  const root = document.documentElement;

  /** @returns {"light" | "dark" | null} the reader's choice */
  function chosen() {
    try {
      const kept = localStorage.getItem(KEY);
      return kept === "light" || kept === "dark" ? kept : null;
    } catch {
      return null; // storage is forbidden: the choice lasts as long as the page
    }
  }

  function show(/** @type {"light" | "dark" | null} */ theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
  }

  /** From the system's to the other one, then to the one that the system has, then back to the system's. */
  function nextTheme() {
    const systemIsDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const order = systemIsDark ? [null, "light", "dark"] : [null, "dark", "light"];
    const now = root.dataset.theme ?? null;
    const next = /** @type {"light" | "dark" | null} */ (order[(order.indexOf(now) + 1) % order.length]);
    try {
      if (next) localStorage.setItem(KEY, next);
      else localStorage.removeItem(KEY);
    } catch {
      // As above.
    }
    show(next);
    return next;
  }

  show(chosen());
  Object.assign(window, { nextTheme });
})();
