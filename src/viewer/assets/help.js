// The dialog with keyboard shortcuts.

import { el } from "./dom.js";

const KEYS = [
  [["j", "↓"], "Next call in the list"],
  [["k", "↑"], "Previous call in the list"],
  [["Enter"], "Open the call"],
  [["/"], "Search"],
  [["Esc"], "Leave a field or close a call"],
  [["n"], "Jump to the newest turn"],
  [["?"], "Show this help"],
];

/** @type {HTMLDialogElement | null} */
let dialog = null;

export function help() {
  dialog ??= document.body.appendChild(el("dialog", { "aria-labelledby": "help-title" },
    el("h2", { id: "help-title" }, "Keys"),
    el("dl", { class: "keys" }, KEYS.flatMap(([keys, what]) => [
      el("dt", null, /** @type {string[]} */ (keys).map((key) => el("kbd", null, key))), el("dd", null, what)])),
    el("p", null, "The search finds drivers by name and number, calls by id, and words. It accepts words, \"phrases in quotes\", AND, OR, NOT, and prefixes*. Times are in your time zone; hover over one to see UTC."),
    el("form", { method: "dialog" }, el("button", { class: "primary", autofocus: true }, "Close"))));
  if (!dialog.open) dialog.showModal();
}
