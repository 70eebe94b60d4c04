// Sharing a call: copy as text, copy a link, export a file, print.

import { address } from "./api.js";
import { announce, el } from "./dom.js";
import { nameOf } from "./drivers.js";
import { may } from "./rights.js";
import { UNFILTERED, addressOf } from "./route.js";
import { duration, lengthOf, plainTime, secondsIn } from "./time.js";
import { STATUS, speakerOf } from "./labels.js";

/** @typedef {import("./api.js").Call} Call */
/** @typedef {import("./api.js").Turn} Turn */

/** Export formats of the API. */
const FORMATS = [
  ["text", "Text", ".txt"], ["markdown", "Markdown", ".md"], ["csv", "Turns as a table", ".csv"], ["calls-csv", "Call as a row", ".csv"],
  ["jsonl", "JSON lines", ".jsonl"],
  ["vtt", "Captions", ".vtt"], ["srt", "Subtitles", ".srt"],
];

/**
  * Returns the action buttons of a call.
 * @param {Call} call
 * @param {() => Turn[]} turns
 */
export function actions(call, turns) {
  const link = copyButton("Copy link", () => location.origin + addressOf({ ...UNFILTERED, call: call.conversation_id }));
  if (!may("read")) return [link];
  const menu = el("details", { class: "menu" },
    el("summary", { class: "button" }, "Export"),
    el("ul", null, FORMATS.map(([format, name, ending]) => el("li", null,
      el("a", { href: address("/export", { conversation_id: call.conversation_id, format }), download: true, onclick: () => (menu.open = false) },
        name, el("span", { class: "soft" }, ending))))));
  menu.addEventListener("focusout", (event) => {
    if (!(event.relatedTarget instanceof Node && menu.contains(event.relatedTarget))) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector("summary")?.focus();
  });
  return [
    copyButton("Copy", () => asText(call, turns())),
    link,
    menu,
    el("button", { type: "button", class: "print", onclick: () => print() }, "Print"),
  ];
}

/**
 * @param {string} name
 * @param {() => string} text
 */
export function copyButton(name, text) {
  const button = el("button", { type: "button", onclick: copy }, name);
  async function copy() {
    const done = await toClipboard(text());
    button.textContent = done ? "Copied" : "Could not copy";
    announce(button.textContent);
    setTimeout(() => (button.textContent = name), 1600);
  }
  return button;
}

/** @param {string} text */
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers allow clipboard access only over HTTPS; elsewhere a selection can be copied.
    const field = el("textarea", { class: "unseen", readonly: true });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

/** Returns a call as plain text. @param {Call} call @param {Turn[]} turns */
function asText(call, turns) {
  const head = [
    nameOf(call), `${plainTime(call.call_start_time)} · ${duration(lengthOf(call))} · ${STATUS[call.status]}`,
    call.title, call.summary, call.conversation_id,
  ].filter(Boolean);
  const said = turns.map((turn) => {
    const offset = duration(secondsIn(call, turn));
    return `[${offset}] ${speakerOf(turn, call)}: ${turn.final_text ?? turn.message_text}${turn.interrupted ? " —" : ""}`;
  });
  return `${head.join("\n")}\n\n${said.join("\n")}\n`;
}
