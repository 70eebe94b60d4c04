// The page "Set-up": each webhook with its address and its last deliveries, and what is missing, with the command for it.

import { accessTable } from "./accesses.js";
import { isAbort, read } from "./api.js";
import { el, show } from "./dom.js";
import { UNFILTERED, addressOf } from "./route.js";
import { count } from "./labels.js";
import { IS_LOCAL, PUBLIC_SERVICE, SERVICE } from "./service_address.js";
import { copyButton } from "./share.js";
import { failed, waiting } from "./states.js";
import { dayAndTime, roughly } from "./time.js";

/** Interval at which the page is updated while it is open, in milliseconds. */
const UPDATE_INTERVAL_MS = 5_000;

/** Maximum number of accesses that are shown. */
const MAX_ACCESSES = 20;

/** @type {Record<string, { name: string, when: string }>} */
const WEBHOOKS = {
  history: { name: "Conversation so far", when: "Called by the agent’s tool after each reply." },
  transcription: { name: "Single turns", when: "Called by the agent’s tool for each turn, instead of the conversation so far." },
  initiation: { name: "Who is calling", when: "Called by ElevenLabs before the first word of an inbound call. Set it in ElevenLabs’ agent settings, under conversation initiation. Without an ingest token, every caller is unknown." },
  "post-call": { name: "Post-call events", when: "Called by ElevenLabs after each call. Set it in ElevenLabs’ workspace settings, under webhooks." },
};

/** @type {Record<string, string>} */
const AUTHENTICATION = {
  none: "Anybody who reaches this address may use it.",
  ingest_token: "Needs an ingest token, in the header Authorization: Bearer or X-Webhook-Token.",
  signature: "Needs ElevenLabs’ signature.",
};

/** @type {Record<string, { name: string, why: string }>} */
const PARTS = {
  signing_secret: { name: "Signing secret", why: "Without it, every post-call event is refused. ElevenLabs shows the secret when the webhook is created." },
  ingest_token: { name: "Ingest token", why: "Without it, anybody who reaches the service may store turns." },
  api_token: { name: "API token", why: "Without it, anybody who reaches the service may read and erase calls." },
  backups: { name: "Backups", why: "Without them, a lost disk loses all calls." },
  recordings: { name: "Recordings", why: "Without a folder for them, recordings of calls are dropped." },
};

/** @type {AbortController | null} */
let request = null;

/** Shows the page, and updates it while it is open. @param {HTMLElement} pane */
export async function setup(pane) {
  request?.abort();
  request = new AbortController();
  const { signal } = request;
  const body = el("div", null, waiting("Loading…"));
  const page = el("div", { class: "page", tabindex: "0", role: "region", "aria-label": "Set-up" }, el("h1", null, "Set-up"), body);
  show(pane, page);
  let shown = "";
  do {
    try {
      const [state, stats, outgoing] = await Promise.all([read("/setup", {}, signal), read("/stats", { started_after: new Date().toISOString() }, signal), read("/webhooks", {}, signal)]);
      const log = state.access_log_keep_seconds ? await read("/access-log", { limit: MAX_ACCESSES }, signal) : null;
      const text = JSON.stringify([state, stats.events, log, outgoing.data]);
      // An unchanged page keeps the reader's selection and focus.
      if (text !== shown) {
        show(body, notReached(), findings(state.elevenlabs_check), missing(state), ...state.webhooks.map((/** @type {any} */ hook) => webhook(hook, state.elevenlabs_check)),
          ...outgoing.data.map((/** @type {any} */ to) => endpoint(to, state.database)), facts(state, stats.events), accesses(log));
      }
      shown = text;
    } catch (error) {
      if (isAbort(error)) return;
      if (shown === "") show(body, failed(error, () => setup(pane)));
    }
    await new Promise((then) => setTimeout(then, UPDATE_INTERVAL_MS));
  } while (page.isConnected && !signal.aborted);
}

/** @param {string} instant */
function ago(instant) {
  const seconds = (Date.now() - Date.parse(instant)) / 1000;
  return [dayAndTime(instant), seconds < 60 ? " (just now)" : ` (${roughly(seconds)} ago)`];
}

/** Returns a path as a shell reads it. @param {string} path */
function quoted(path) {
  return /^[\w./@%+=:,-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

/** Returns the option that names the database, if it is known. @param {string | null} path */
function databaseOption(path) {
  return path ? ` --database ${quoted(path)}` : "";
}

/**
 * Returns lines of a systemd unit that set a flag. Secrets are read by systemd, because only root may read their files.
 * Other folders than the unit's own have to be writable.
 * @param {string} flag with its value, or several
 */
function unitLines(flag) {
  const pairs = [...flag.matchAll(/--([\w-]+) (\S+)/g)];
  return pairs.flatMap(([, name, value]) => {
    const variable = `TRANSCRIBE_HOOK_${name.replaceAll("-", "_").toUpperCase()}`;
    const secret = name.endsWith("-file") && name.slice(0, -"-file".length);
    if (secret) return [`LoadCredential=${secret}:${value}`, `Environment=${variable}=%d/${secret}`];
    return [`Environment=${variable}=${value}`, name.endsWith("-dir") && `ReadWritePaths=${value}`].filter(Boolean);
  });
}

/** @param {any} state */
function missing(state) {
  if (state.missing.length === 0) return el("p", { class: "lead" }, "Nothing is missing.");
  const flags = state.missing.map((/** @type {any} */ part) => part.flag);
  const unit = state.systemd_unit;
  const command = [`transcribe-hook serve${databaseOption(state.database)}`, ...flags].join(" \\\n    ");
  return el("section", { class: "figure", "aria-labelledby": "missing-title" }, el("h2", { id: "missing-title" }, "What is missing"),
    el("dl", { class: "parts" }, state.missing.flatMap((/** @type {any} */ { part }) => [el("dt", null, PARTS[part]?.name ?? part), el("dd", null, PARTS[part]?.why)])),
    unit ? [
      el("p", null, "Add these lines to the unit that runs the service, with your own paths. The files and folders must exist, and the service must be allowed to write to the folders:"),
      code(`sudo systemctl edit ${quoted(unit)}`, "Command that edits the unit"),
      code(`[Service]\n${flags.flatMap(unitLines).join("\n")}`, "Lines with the missing settings"),
      el("p", null, "Then start it again:"),
      code(`sudo systemctl restart ${quoted(unit)}`, "Command that restarts the service"),
    ] : [
      el("p", null, "Add these flags to those of the running service, with your own paths, and start it again:"),
      code(command, "Command with the missing flags"),
    ]);
}

/** @param {string} text */
function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Says what is wrong with ElevenLabs' settings. @param {any} check */
function findings(check) {
  const wrong = check?.findings.filter((/** @type {any} */ finding) => finding.severity !== "ok") ?? [];
  return wrong.length > 0 && el("section", { class: "figure webhook", role: "alert", "aria-labelledby": "findings-title" },
    el("h2", { id: "findings-title" }, "ElevenLabs’ settings", el("span", { class: "chip bad" }, count(wrong.length, "finding"))),
    el("p", { class: "soft" }, "Last check: ", ...ago(check.checked_at), ". ", el("code", null, "transcribe-hook doctor"), " checks more, and with ", el("code", null, "--fix"), " it mends what it can."),
    el("dl", { class: "findings" }, wrong.flatMap((/** @type {any} */ { text, remedy }) => [el("dt", null, sentence(text)), el("dd", null, sentence(remedy))])));
}

/** Says that ElevenLabs cannot reach the address at which the page is read. */
function notReached() {
  return IS_LOCAL && el("p", { class: "conflict" }, "ElevenLabs cannot reach ", el("code", null, SERVICE),
    ", where you read this page. In the addresses below, replace ", el("code", null, new URL(PUBLIC_SERVICE).host.toUpperCase()), " with the service’s name on the internet; it needs HTTPS.");
}

/** States of a webhook at ElevenLabs in which it sends nothing here, by the check that found it. @type {Record<string, string>} */
const NOT_SENDING = {
  webhook_missing: "Not set", webhook_address: "Another address is set", webhook_auto_disabled: "Switched off by ElevenLabs",
  webhook_disabled: "Switched off", initiation_address: "Another address is set",
};

/**
 * Returns the findings about a webhook.
 * @param {string} key
 * @param {any} check
 * @returns {any[]}
 */
function findingsOf(key, check) {
  const about = key === "post-call" ? /^(webhook|transcript)_/ : key === "initiation" ? /^initiation_/ : null;
  return check && about ? check.findings.filter((/** @type {any} */ finding) => ["problem", "warning"].includes(finding.severity) && about.test(finding.check)) : [];
}

/**
 * Returns class and text of a webhook's state. A delivery that was accepted after the check may mean that the settings
 * were mended.
 * @param {any} hook
 * @param {any[]} found
 * @param {string} [checkedAt]
 */
function stateOf(hook, found, checkedAt = "") {
  const refused = hook.last_refused;
  if (!hook.enabled) return ["bad", "Refuses everything"];
  const silenced = found.find((finding) => finding.agent_id === null && finding.check in NOT_SENDING);
  if (silenced) {
    const text = NOT_SENDING[silenced.check];
    return hook.last_accepted_at && Date.parse(hook.last_accepted_at) > Date.parse(checkedAt) ? ["warn", `${text} at the last check`] : ["bad", text];
  }
  if (refused && (!hook.last_accepted_at || Date.parse(refused.at) > Date.parse(hook.last_accepted_at))) return ["bad", "Last one refused"];
  if (!hook.last_accepted_at) return ["", "Nothing received yet"];
  return found.length > 0 ? ["warn", `Works, with ${count(found.length, "finding")}`] : ["live", "Works"];
}

/** @param {any} hook @param {any} check */
function webhook(hook, check) {
  const key = hook.path.split("/").at(-1);
  const { name, when } = WEBHOOKS[key] ?? { name: key, when: "" };
  const refused = hook.last_refused;
  const found = findingsOf(key, check);
  const state = stateOf(hook, found, check?.checked_at);
  return el("section", { class: "figure webhook", "aria-labelledby": `hook-${key}` },
    el("h2", { id: `hook-${key}` }, name, el("span", { class: `chip ${state[0]}` }, state[1])),
    el("p", { class: "soft" }, when),
    code(PUBLIC_SERVICE + hook.path, `Address of ${name}`),
    el("dl", { class: "parts" },
      el("dt", null, "Access"), el("dd", null, AUTHENTICATION[hook.authentication] ?? hook.authentication),
      el("dt", null, "Last accepted"), el("dd", null, hook.last_accepted_at ? ago(hook.last_accepted_at) : "None", hook.accepted > 0 && `, ${count(hook.accepted, "delivery", "deliveries")} in all`),
      el("dt", null, "Last refused"), el("dd", null, refused ? [...ago(refused.at), `, ${count(hook.refused, "delivery", "deliveries")} in all`] : "None"),
      refused && [el("dt", null, "Reason"), el("dd", null, `${refused.status}: ${refused.reason}`)],
      found.length > 0 && [el("dt", null, "At ElevenLabs"), el("dd", null, found.map((finding) => sentence(finding.text)).join(" "))]));
}

/** Shows a receiver of outgoing webhooks. @param {any} to @param {string | null} database */
function endpoint(to, database) {
  /** @type {Record<string, [string, string]>} */
  const states = { active: ["live", "Works"], failing: ["bad", "Last one failed"], switched_off: ["bad", "Switched off by the receiver"] };
  const [kind, text] = to.status === "active" && !to.last_attempt_at ? ["", "Nothing sent yet"] : states[to.status] ?? ["", to.status];
  const waits = to.unsent + to.waiting;
  const answer = to.last_status ?? to.last_error ?? "None";
  return el("section", { class: "figure webhook", "aria-labelledby": `endpoint-${to.id}` },
    el("h2", { id: `endpoint-${to.id}` }, `Notices to ${to.url}`, el("span", { class: `chip ${kind}` }, text)),
    el("p", { class: "soft" }, "Told when calls start, end, are complete, change or are erased."),
    el("dl", { class: "parts" },
      el("dt", null, "Last answer"), el("dd", null, to.last_attempt_at ? [`${answer}, `, ...ago(to.last_attempt_at)] : "None"),
      el("dt", null, "Waiting"), el("dd", null, waits > 0 ? `${count(waits, "notice")}, the oldest for ${roughly(to.lag_seconds)}` : "Nothing"),
      to.next_try_at && [el("dt", null, "Next try"), el("dd", null, dayAndTime(to.next_try_at))],
      el("dt", null, "Given up"), el("dd", null, to.failed > 0 ? [`${count(to.failed, "notice")}; `, el("code", null, `transcribe-hook webhook retry${databaseOption(database)}`), " sends them again"] : "Nothing"),
      to.dropped > 0 && [el("dt", null, "Dropped"), el("dd", null, count(to.dropped, "notice"))]),
    to.failed_deliveries.length > 0 && el("ul", null, to.failed_deliveries.slice(0, 10).map((/** @type {any} */ failed) =>
      el("li", null, `${failed.type} of ${failed.conversation_id}: ${failed.last_status ?? "no answer"} after ${count(failed.tries, "try", "tries")}`))));
}

/** @param {any} state @param {any} events */
function facts(state, events) {
  const yes = (/** @type {boolean} */ is, /** @type {string} */ on, /** @type {string} */ off) => (is ? on : off);
  const days = (/** @type {number} */ seconds) => (seconds % 86400 === 0 ? count(seconds / 86400, "day") : roughly(seconds));
  /** @type {[string, import("./dom.js").Child][]} */
  const rows = [
    ["Database", state.database ?? null],
    ["systemd unit", state.systemd_unit ?? null],
    ["Version", `${state.version}, running for ${roughly((Date.now() - Date.parse(state.started_at)) / 1000)}; deliveries are counted from then on`],
    ["Reading", yes(state.api_token, "Needs a token", "Open to everybody")],
    ["Backups", state.backup_every_seconds ? [`Every ${days(state.backup_every_seconds)}; last one: `, state.last_backup_at ? ago(state.last_backup_at) : "none yet"].flat() : "Not set up"],
    ["Recordings", yes(state.recordings, "Stored", "Not stored")],
    ["Erased after", state.retention_seconds ? days(state.retention_seconds) : "Never"],
    ["Access log", state.access_log_keep_seconds ? `Kept for ${days(state.access_log_keep_seconds)}` : state.access_log_keep_seconds === null ? "Off" : null],
    ["Missing ends of calls", yes(state.backfill, "Fetched from ElevenLabs", "Not fetched")],
    ["Events read again", events?.rereading > 0 ? `${count(events.rereading, "event")} from before the upgrade still to be read again; until then, older calls may lack facts` : null],
    ["Events not understood", events?.unreadable > 0 ? count(events.unreadable, "event") : null],
  ];
  return el("section", { class: "figure", "aria-labelledby": "service-title" }, el("h2", { id: "service-title" }, "Service"),
    el("dl", { class: "parts" }, rows.filter(([, value]) => value !== null).flatMap(([name, value]) => [el("dt", null, name), el("dd", null, value)])));
}

/** Shows who accessed calls last. @param {any} log */
function accesses(log) {
  if (!log) return null;
  return el("section", { class: "figure", "aria-labelledby": "accesses-title" }, el("h2", { id: "accesses-title" }, "Last accesses to calls"),
    log.data.length === 0 ? el("p", { class: "soft" }, "None yet.") : [
      accessTable("Table of the last accesses", log.data),
      el("p", null, el("a", { href: addressOf({ ...UNFILTERED, view: "accesses" }) }, "The whole access log"), ", by call, name, action and days"),
    ]);
}

/** @param {string} text @param {string} label */
function code(text, label) {
  return el("div", { class: "code" }, copyButton("Copy", () => text), el("pre", { tabindex: "0", role: "region", "aria-label": label }, text));
}
