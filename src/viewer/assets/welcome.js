// The page for the first run, while no call is stored yet.

import { read } from "./api.js";
import { el } from "./dom.js";
import { addressOf } from "./route.js";
import { IS_LOCAL, PUBLIC_SERVICE, SERVICE } from "./service_address.js";
import { copyButton } from "./share.js";

/** @param {string} text @param {string} label */
function code(text, label) {
  return el("div", { class: "code" }, copyButton("Copy", () => text), el("pre", { tabindex: "0", role: "region", "aria-label": label }, text));
}

/** @param {HTMLElement} pane */
export async function welcome(pane) {
  const now = new Date().toISOString().replace(/\.\d+/, "");
  const turn = (/** @type {string} */ token) => `curl -i ${SERVICE}/webhooks/elevenlabs/transcription \\
${token}  -H 'Content-Type: application/json' \\
  -d '{"conversation_id": "conv_first", "speaker": "user",
       "message": "Yeah, I am parked at the Joliet terminal.", "timestamp": "${now}"}'`;
  const first = el("div");
  const sayFirst = (/** @type {string} */ token, /** @type {import("./dom.js").Child[]} */ ...about) => first.replaceChildren(code(turn(token), "Command that sends a first turn"),
    el("p", { class: "soft" }, "The response is 201 once the turn is on disk, and the turn appears here at once. ", ...about));
  sayFirst("", "If an ingest token is configured, add ", el("code", null, "-H 'Authorization: Bearer …'"), ".");
  const tool = el("div", null, el("p", { class: "soft", role: "status" }, "Loading the tool…"));
  pane.replaceChildren(el("div", { class: "page", tabindex: "0", role: "region", "aria-label": "First steps" },
    el("h1", null, "No calls yet"),
    el("p", { class: "lead" }, "This page shows each call while it is running, from its first turn. Three steps:"),
    el("ol", { class: "steps" },
      el("li", null,
        el("h2", null, "1. Send a first turn by hand"),
        first),
      el("li", null,
        el("h2", null, "2. Connect your agent"),
        el("p", null, "In ElevenLabs, add a tool to the agent and paste this into its JSON view. It sends the conversation so far after each reply. In the agent’s prompt, tell it to call the tool after every reply."),
        tool,
        IS_LOCAL && el("p", { class: "conflict" }, "ElevenLabs cannot reach ", el("code", null, SERVICE), ", where you read this page. Replace ", el("code", null, PUBLIC_SERVICE), " with the service’s name on the internet.")),
      el("li", null,
        el("h2", null, "3. Receive the record after each call"),
        el("p", null, "In ElevenLabs’ workspace settings, add a post-call webhook with this address, and start the service with the secret that ElevenLabs shows, as ", el("code", null, "--elevenlabs-secret-file"), ":"),
        code(`${PUBLIC_SERVICE}/webhooks/elevenlabs/post-call`, "Address of the post-call webhook"),
        el("p", null, el("a", { href: addressOf({ view: "setup" }) }, "The page Set-up"), " shows whether deliveries arrive, and what is missing."))),
    el("p", { class: "waiting" }, el("span", { class: "dot" }), "Waiting for the first turn.")));
  const setup = await read("/setup", {}).catch(() => null);
  if (setup?.ingest_token) {
    sayFirst("  -H 'Authorization: Bearer YOUR-INGEST-TOKEN' \\\n", "Put one of the service’s ingest tokens in place of ", el("code", null, "YOUR-INGEST-TOKEN"), ".");
  } else if (setup) {
    sayFirst("", "No token is needed yet: anybody who reaches the service may send turns. ", el("a", { href: addressOf({ view: "setup" }) }, "The page Set-up"), " has the flag for a token.");
  }
  const command = el("code", null, `transcribe-hook generate elevenlabs-tool --url ${PUBLIC_SERVICE}${setup?.ingest_token ? " --secret-id SECRET_ID" : ""}`);
  const secret = setup?.ingest_token && el("p", null, "Store an ingest token in the agent’s settings under workspace secrets, and put the secret’s id in place of ", el("code", null, "SECRET_ID"), ".");
  try {
    const text = await (await fetch(new URL("./setup.json", import.meta.url))).text();
    const configuration = JSON.parse(text.replaceAll("{origin}", PUBLIC_SERVICE)).tool;
    if (setup?.ingest_token) configuration.api_schema.request_headers = { "X-Webhook-Token": { secret_id: "SECRET_ID" } };
    tool.replaceChildren(code(JSON.stringify(configuration, null, 2), "The tool’s configuration"),
      el("p", { class: "soft" }, "This command prints the same: ", command, "."), secret || "");
  } catch {
    tool.replaceChildren(el("p", { class: "soft" }, "It could not be loaded; ", command, " prints it."), secret || "");
  }
}
