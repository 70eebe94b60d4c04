// The first run: no call is stored yet, and what to do about it.

import { el } from "./dom.js";
import { BASE } from "./route.js";
import { copyButton } from "./share.js";

/** The service's address, as the reader's browser has it. */
const SERVICE = location.origin + BASE.replace(/\/$/, "");

/** The platform reaches no such address. */
const LOCAL = /^(localhost|127\.|\[::1\]|10\.|192\.168\.)/;

/** @param {string} text @param {string} label */
function code(text, label) {
  return el("div", { class: "code" }, copyButton("Copy", () => text), el("pre", { tabindex: "0", "aria-label": label }, text));
}

/** @param {HTMLElement} pane */
export async function welcome(pane) {
  const now = new Date().toISOString().replace(/\.\d+/, "");
  const turn = `curl -i ${SERVICE}/webhooks/elevenlabs/transcription \\
  -H 'Content-Type: application/json' \\
  -d '{"conversation_id": "conv_first", "speaker": "user",
       "message": "Yeah, I am parked at the Joliet terminal.", "timestamp": "${now}"}'`;
  const tool = el("div", null, el("p", { class: "soft", role: "status" }, "Reading the tool…"));
  pane.replaceChildren(el("div", { class: "page", tabindex: "0", role: "region", "aria-label": "First steps" },
    el("h1", null, "No calls yet"),
    el("p", { class: "lead" }, "This page shows each call as it is spoken, from its first turn on. Two ways to see one:"),
    el("ol", { class: "steps" },
      el("li", null,
        el("h2", null, "1. Send a first turn by hand"),
        code(turn, "Command that sends a first turn"),
        el("p", { class: "soft" }, "It is answered 201 once the turn is on disk, and shows here at the same moment. Where an ingest token is set, add ", el("code", null, "-H 'Authorization: Bearer …'"), ".")),
      el("li", null,
        el("h2", null, "2. Connect your agent"),
        el("p", null, "In the platform, add a tool to the agent and paste this into its JSON view. It sends the conversation so far after each reply. Tell the agent in its prompt to call it after every reply."),
        tool,
        LOCAL.test(location.host) && el("p", { class: "soft" }, "The platform reaches public addresses only: put the service’s own in place of ", el("code", null, SERVICE), ". The same is printed by ", el("code", null, "transcribe-hook generate elevenlabs-tool --url https://…"), "."))),
    el("p", { class: "waiting" }, el("span", { class: "dot" }), "Waiting for the first turn.")));
  try {
    const text = await (await fetch(new URL("./setup.json", import.meta.url))).text();
    const json = JSON.stringify(JSON.parse(text).tool, null, 2).replaceAll("{origin}", SERVICE);
    tool.replaceChildren(code(json, "The tool’s configuration"));
  } catch {
    tool.replaceChildren(el("p", { class: "soft" }, "It could not be read; ", el("code", null, `transcribe-hook generate elevenlabs-tool --url ${SERVICE}`), " prints it."));
  }
}
