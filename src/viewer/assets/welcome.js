// The page for the first run, while no call is stored yet.

import { el } from "./dom.js";
import { BASE } from "./route.js";
import { copyButton } from "./share.js";

/** The service's URL, as the browser sees it. */
const SERVICE = location.origin + BASE.replace(/\/$/, "");

/** Hosts that ElevenLabs cannot reach. */
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
  const tool = el("div", null, el("p", { class: "soft", role: "status" }, "Loading the tool…"));
  pane.replaceChildren(el("div", { class: "page", tabindex: "0", role: "region", "aria-label": "First steps" },
    el("h1", null, "No calls yet"),
    el("p", { class: "lead" }, "This page shows each call while it is running, from its first turn. Two ways to see one:"),
    el("ol", { class: "steps" },
      el("li", null,
        el("h2", null, "1. Send a first turn by hand"),
        code(turn, "Command that sends a first turn"),
        el("p", { class: "soft" }, "The response is 201 once the turn is on disk, and the turn appears here at once. If an ingest token is configured, add ", el("code", null, "-H 'Authorization: Bearer …'"), ".")),
      el("li", null,
        el("h2", null, "2. Connect your agent"),
        el("p", null, "In ElevenLabs, add a tool to the agent and paste this into its JSON view. It sends the conversation so far after each reply. In the agent’s prompt, tell it to call the tool after every reply."),
        tool,
        LOCAL.test(location.host) && el("p", { class: "soft" }, "ElevenLabs reaches only public addresses: replace ", el("code", null, SERVICE), " with the service’s public URL. This command prints the same: ", el("code", null, "transcribe-hook generate elevenlabs-tool --url https://…"), "."))),
    el("p", { class: "waiting" }, el("span", { class: "dot" }), "Waiting for the first turn.")));
  try {
    const text = await (await fetch(new URL("./setup.json", import.meta.url))).text();
    const json = JSON.stringify(JSON.parse(text).tool, null, 2).replaceAll("{origin}", SERVICE);
    tool.replaceChildren(code(json, "The tool’s configuration"));
  } catch {
    tool.replaceChildren(el("p", { class: "soft" }, "It could not be loaded; ", el("code", null, `transcribe-hook generate elevenlabs-tool --url ${SERVICE}`), " prints it."));
  }
}
