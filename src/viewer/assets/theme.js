// The reader's choice of light or dark. It is applied before the first paint, so this is not a module.
// Without a choice, the page follows the system. The button in the page's header calls `nextTheme`.

(() => {
  const KEY = "theme";
  const root = document.documentElement;

  /** @returns {"light" | "dark" | null} the reader's choice */
  function chosen() {
    try {
      const kept = localStorage.getItem(KEY);
      return kept === "light" || kept === "dark" ? kept : null;
    } catch {
      return null; // storage is blocked: the choice lasts until the page is closed
    }
  }

  function show(/** @type {"light" | "dark" | null} */ theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
  }

  /** Cycles through: opposite of the system's theme, same as the system's theme, no choice. */
  function nextTheme() {
    const systemIsDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const order = systemIsDark ? [null, "light", "dark"] : [null, "dark", "light"];
    const now = root.dataset.theme ?? null;
    const next = /** @type {"light" | "dark" | null} */ (order[(order.indexOf(now) + 1) % order.length]);
    try {
      if (next) localStorage.setItem(KEY, next);
      else localStorage.removeItem(KEY);
    } catch {
      // Storage is blocked: the choice lasts until the page is closed.
    }
    show(next);
    return next;
  }

  show(chosen());
  Object.assign(window, { nextTheme });
})();
