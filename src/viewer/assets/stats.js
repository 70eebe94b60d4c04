// Statistics: calls by day, and who talks how much.

/** @param {HTMLElement} pane */
export function statistics(pane) {
  pane.replaceChildren();
}
