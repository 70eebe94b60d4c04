// What the keys do.

import { el } from "./dom.js";

const KEYS = [
  [["j", "↓"], "Next call in the list"],
  [["k", "↑"], "Call before it"],
  [["Enter"], "Open it"],
  [["/"], "Search"],
  [["Esc"], "Back: out of a field, out of a call"],
  [["n"], "To the newest turn"],
  [["?"], "This help"],
];

/** @type {HTMLDialogElement | null} */
let dialog = null;

export function help() {
  dialog ??= document.body.appendChild(el("dialog", { "aria-labelledby": "help-title" },
    el("h2", { id: "help-title" }, "Keys"),
    el("dl", { class: "keys" }, KEYS.flatMap(([keys, what]) => [
      el("dt", null, /** @type {string[]} */ (keys).map((key) => el("kbd", null, key))), el("dd", null, what)])),
    el("p", null, "A search takes words, \"phrases in quotes\", AND, OR, NOT, and beginnings*. Times are in your own zone; UTC shows when you point at one."),
    el("form", { method: "dialog" }, el("button", { class: "primary", autofocus: true }, "Close"))));
  if (!dialog.open) dialog.showModal();
}
