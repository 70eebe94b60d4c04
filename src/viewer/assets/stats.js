// Statistics: calls by day and by a property, durations, speaking shares, and the reconciliation of live turns and
// records.

import { isAbort, read } from "./api.js";
import { bars, columns, legend, shares, table } from "./chart.js";
import { driverField } from "./combo.js";
import { el, show } from "./dom.js";
import { UNFILTERED, addressOf, current, go } from "./route.js";
import { failed, holdsNoCalls, nothing, waiting } from "./states.js";
import { dayKey, duration, shortDay, startOfDay, zone } from "./time.js";
import { ANSWERED_BY, CHANNEL, DIRECTION, OUTCOME, STATUS, count, percentages } from "./labels.js";
import { shortId } from "./drivers.js";

/** Selectable periods, in days. */
const SPANS = [7, 30, 90];

const BY_STATUS = ["completed", "failed", "in_progress"].map((key) => ({ key, name: STATUS[key] }));
const BY_VOICE = [{ key: "agent", name: "Agent" }, { key: "driver", name: "Driver" }];

/** Maximum number of drivers, and of values of a property, in a chart. */
const MAX_DRAWN = 8;

/** Maximum number of agents whose names are requested. */
const MAX_NAMED = 20;

/**
  * Properties by which calls are grouped, with the names of their values. `none` stands for calls without a value.
 * @type {Record<string, { name: string, values: Record<string, string>, none: string }>}
 */
const GROUPINGS = {
  answered_by: { name: "Who answered", values: ANSWERED_BY, none: "No information" },
  outcome: { name: "Goal", values: { ...OUTCOME, unknown: "Not decided" }, none: "No analysis" },
  agent: { name: "Agent", values: {}, none: "No information" },
  channel: { name: "Channel", values: CHANNEL, none: "No information" },
  direction: { name: "Direction", values: DIRECTION, none: "No information" },
};

/** Names of agents by id; empty if an agent has none. @type {Map<string, string>} */
const agents = new Map();

/** @type {AbortController | null} */
let request = null;

/** Returns the first day of a period that ends today. @param {number} days */
function since(days) {
  const now = new Date();
  return dayKey(new Date(now.getFullYear(), now.getMonth(), now.getDate() - days + 1));
}

/** @param {HTMLElement} pane */
export async function statistics(pane) {
  const { driver } = current();
  const by = current().by || "answered_by";
  const from = current().from || since(30);
  const to = current().to || dayKey(new Date());
  request?.abort();
  request = new AbortController();
  const { signal } = request;

  const who = driverField((id) => go({ driver: id }), "stats-driver");
  who.set(driver);
  const spans = SPANS.map((days) => {
    const radio = el("input", { type: "radio", name: "span", value: days, onchange: () => go({ from: since(days), to: "" }) });
    radio.checked = from === since(days) && current().to === "";
    return el("label", null, radio, `${days} days`);
  });
  const day = (/** @type {"from" | "to"} */ name, /** @type {string} */ label, /** @type {string} */ value) =>
    el("label", null, el("span", { class: "soft" }, label), el("input", { type: "date", value, onchange: (/** @type {Event} */ event) => go({ [name]: /** @type {HTMLInputElement} */ (event.target).value }) }));
  // The controls are built again, so the focus returns to the one that had it.
  const focused = pane.contains(document.activeElement) ? document.activeElement?.getAttribute("name") : null;
  const body = el("div", null, waiting("Loading…"));
  show(pane, el("div", { class: "page", tabindex: "0", role: "region", "aria-label": "Statistics" },
    el("h1", null, "Statistics"),
    el("div", { class: "stats-bar" },
      el("div", { class: "segments", role: "radiogroup", "aria-label": "Period" }, spans),
      day("from", "From", from), day("to", "To", to), who.element),
    body));
  try {
    const stats = await read("/stats", { started_after: startOfDay(from), started_before: startOfDay(to, 1), driver_id: driver, zone, by }, signal);
    if (by === "agent") await nameAgents(stats.groups, signal);
    if (stats.all.calls === 0) {
      show(body, await holdsNoCalls(signal) ? nothing("No calls yet", "The first turn that arrives creates the first call.",
        el("a", { class: "button", href: addressOf({ ...UNFILTERED, view: "calls" }) }, "First steps"))
        : nothing("No calls in this period", "Choose a longer period, or another driver.", el("a", { class: "button", href: addressOf({ from: since(90), to: "", driver: null }) }, "Last 90 days")), unread(stats));
      return;
    }
    show(body, tiles(stats), byDay(stats, from, to), byProperty(stats, by), byVoice(stats), recorded(stats), unread(stats),
      el("p", { class: "soft" }, "Conversations of sub-agents and of test environments are left out. Failed calls of 0:00 count in no length."));
    if (focused) /** @type {HTMLElement | null} */ (pane.querySelector(`[name="${CSS.escape(focused)}"]:checked`))?.focus();
  } catch (error) {
    if (!isAbort(error)) show(body, failed(error, () => statistics(pane)));
  }
}

/** @param {number | null} share */
function percent(share) {
  return share === null ? "–" : share.toLocaleString(undefined, { style: "percent", maximumFractionDigits: 0 });
}

/** Returns the shares of agent and driver in the speaking time, which add up to 100 %. @param {any} sums */
function talk({ agent, driver }) {
  if (agent.share_of_seconds === null) return ["–", "–"];
  return percentages([agent.seconds, driver.seconds]).map((share) => percent(share / 100));
}

/** @param {any} stats */
function tiles({ all, median_seconds: median, p90_seconds: p90 }) {
  const tile = (/** @type {string} */ name, /** @type {string} */ value, /** @type {string | false} */ more) =>
    el("div", { class: "tile" }, el("dt", null, name), el("dd", null, value, more && el("small", null, ` ${more}`)));
  const rate = (/** @type {number} */ some) => `${percent(all.calls > 0 ? some / all.calls : null)} of calls`;
  return el("dl", { class: "tiles" },
    tile("Calls", all.calls.toLocaleString(), all.in_progress > 0 && `${all.in_progress.toLocaleString()} live`),
    tile("Reached", all.reached.toLocaleString(), rate(all.reached)),
    tile("Failed", all.failed.toLocaleString(), rate(all.failed)),
    all.given_up > 0 && tile("Given up", all.given_up.toLocaleString(), "no more turns arrived"),
    tile("Mean length", all.mean_seconds === null ? "–" : duration(all.mean_seconds), all.with_duration > 0 && `${duration(all.duration_seconds)} in total`),
    tile("Median length", median === null ? "–" : duration(median), p90 !== null && `90% within ${duration(p90)}`),
    tile("Turns", (all.agent.turns + all.driver.turns).toLocaleString(), `${Math.round((all.agent.turns + all.driver.turns) / all.calls).toLocaleString()} per call`),
    tile("Driver talks", talk(all)[1], "of the talk"));
}

/** @param {any} stats @param {string} from @param {string} to */
function byDay(stats, from, to) {
  const known = new Map(stats.days.map((/** @type {any} */ day) => [day.date, day]));
  const days = [];
  const date = new Date(`${from}T12:00:00`);
  // For a long period, only days with calls are drawn.
  while (days.length < 400 && dayKey(date) <= to) {
    days.push(dayKey(date));
    date.setDate(date.getDate() + 1);
  }
  const drawn = days.length < 400 ? days : stats.days.map((/** @type {any} */ day) => day.date);
  const none = { calls: 0, completed: 0, failed: 0, in_progress: 0 };
  const rows = drawn.map((/** @type {string} */ key) => {
    const values = known.get(key) ?? none;
    return { label: shortDay(key), says: `${shortDay(key)}: ${count(values.calls, "call")}, ${values.failed} failed`, values };
  });
  const most = stats.days.reduce((/** @type {any} */ a, /** @type {any} */ b) => (b.calls > a.calls ? b : a));
  const says = `Calls by day: ${count(stats.all.calls, "call")} on ${count(stats.days.length, "day")}, maximum ${most.calls} on ${shortDay(most.date)}.`;
  return el("figure", { class: "figure" }, el("h2", null, "Calls by day"), legend(BY_STATUS), columns(rows, BY_STATUS, says),
    table(["Day", "Calls", ...BY_STATUS.map(({ name }) => name), "Total length"],
      stats.days.map((/** @type {any} */ day) => [shortDay(day.date), day.calls, ...BY_STATUS.map(({ key }) => day[key]), duration(day.duration_seconds)])));
}

/** Requests the names of the first agents. The statistics are shown without a name if that fails. @param {any[]} groups @param {AbortSignal} signal */
async function nameAgents(groups, signal) {
  const ids = groups.map(({ value }) => value).filter((id) => id !== null && !agents.has(id)).slice(0, MAX_NAMED);
  await Promise.all(ids.map(async (id) => {
    const page = await read("/calls", { agent_id: id, limit: 1 }, signal);
    agents.set(id, page.data[0]?.agent_name ?? "");
  })).catch((error) => {
    if (isAbort(error)) throw error;
  });
}

/** @param {{ all: any, groups: any[], more_groups: boolean }} stats @param {string} by */
function byProperty({ all, groups: unsorted, more_groups: more }, by) {
  // Calls without a value come last.
  const groups = [...unsorted].sort((a, b) => Number(a.value === null) - Number(b.value === null));
  const { name, values, none } = GROUPINGS[by];
  const choices = Object.entries(GROUPINGS).map(([key, { name }]) => {
    const radio = el("input", { type: "radio", name: "by", value: key, onchange: () => go({ by: key === "answered_by" ? "" : key }) });
    radio.checked = key === by;
    return el("label", null, radio, name);
  });
  const named = (/** @type {string | null} */ value) => {
    if (value === null) return none;
    if (by !== "agent") return values[value] ?? value;
    const agent = agents.get(value);
    return agent ? `${agent} (${shortId(value)})` : value;
  };
  // Calls of further groups are not in the list, but in the whole.
  const others = all.calls - groups.reduce((sum, group) => sum + group.calls, 0);
  const parts = percentages([...groups.map((group) => group.calls), others]);
  const rows = groups.map((group, n) => ({
    name: named(group.value), value: group.calls, says: `${count(group.calls, "call")} · ${group.calls > 0 && parts[n] === 0 ? "<1%" : percent(parts[n] / 100)}`,
  }));
  const says = `${name}: ${rows.slice(0, MAX_DRAWN).map((row) => `${row.name} ${row.says.replace(" · ", ", ")}`).join("; ")}.`;
  return el("figure", { class: "figure", id: "by-property" }, el("h2", null, "Calls by property"),
    el("div", { class: "segments", role: "radiogroup", "aria-label": "Property" }, choices),
    bars(rows.slice(0, MAX_DRAWN), all.calls, says),
    rows.length > MAX_DRAWN && el("p", { class: "soft" }, `The chart has the first ${MAX_DRAWN} of ${rows.length.toLocaleString()}${more ? " or more" : ""}.`),
    table([name, "Calls", "Share", "Reached", "Failed", "Turns", "Mean length", "Total length"], groups.map((group, n) => [
      rows[n].name, group.calls, percent(parts[n] / 100), group.reached, group.failed, group.agent.turns + group.driver.turns,
      group.mean_seconds === null ? "–" : duration(group.mean_seconds), duration(group.duration_seconds)])));
}

/** @param {any} stats */
function byVoice(stats) {
  const row = (/** @type {string} */ name, /** @type {any} */ sums) => {
    const [agent, driver] = talk(sums);
    return { name, values: { agent: sums.agent.seconds, driver: sums.driver.seconds }, says: `${agent} agent, ${driver} driver` };
  };
  const named = (/** @type {any} */ one) => one.driver_name ?? one.name ?? (one.driver_id === null ? "Unknown driver" : `Driver ${one.driver_id}`);
  const talked = stats.drivers.filter((/** @type {any} */ one) => one.agent.seconds + one.driver.seconds > 0);
  const rows = [row("All calls", stats.all), ...(talked.length > 1 ? talked.slice(0, MAX_DRAWN).map((/** @type {any} */ one) => row(named(one), one)) : [])];
  const [agent, driver] = talk(stats.all);
  const says = `Speaking time: agent ${agent}, drivers ${driver}.`;
  return el("figure", { class: "figure" }, el("h2", null, "Speaking time"),
    el("p", { class: "soft" }, `Estimated from the length of the text and the times of the turns, also of calls that are still running. Silence between turns: ${duration(stats.all.silence_seconds)}, without pauses of more than five minutes.`),
    legend(BY_VOICE), shares(rows, BY_VOICE, says),
    table(["Driver", "Calls", "Turns", "Agent", "Driver", "Silence", "Mean length"],
      stats.drivers.map((/** @type {any} */ one) => [named(one), one.calls, one.agent.turns + one.driver.turns, duration(one.agent.seconds), duration(one.driver.seconds),
        duration(one.silence_seconds), one.mean_seconds === null ? "–" : duration(one.mean_seconds)])),
    stats.more_drivers && el("p", { class: "soft" }, "The table has the 100 drivers with the most calls."));
}

/** @param {any} stats */
function recorded({ all, reconciliation: sums }) {
  const over = all.completed + all.failed;
  return el("figure", { class: "figure" }, el("h2", null, "Live turns and records"),
    el("p", { class: "soft" }, sums.calls === 0
      ? "ElevenLabs’ record has not arrived for any of these calls."
      : `ElevenLabs’ record has arrived for ${sums.calls.toLocaleString()} of ${count(over, "ended call")}.`),
    sums.calls > 0 && el("dl", { class: "tiles" }, [
      ["Live and in the record", sums.matched], ["With different text", sums.corrected],
      ["Only in the record", sums.added], ["Only live", sums.live_only], ["Repeated", sums.repeated],
    ].map(([name, n]) => el("div", { class: "tile" }, el("dt", null, name), el("dd", null, n.toLocaleString())))));
}

/** Shows the number of ElevenLabs' events that could not be parsed, if there are any. @param {any} stats */
function unread({ events }) {
  const rereading = events.rereading ?? 0;
  if (events.unreadable + events.remarked === 0) {
    return rereading > 0 && el("p", { class: "soft", id: "rereading" }, `${count(rereading, "event")} from before the upgrade are still read again. Until then, figures of older calls may be incomplete.`);
  }
  const parts = [
    events.unreadable > 0 && `${count(events.unreadable, "event")} could not be parsed (${events.ids.slice(0, 5).join(", ")}${events.ids.length > 5 ? ", …" : ""})`,
    events.remarked > 0 && `parts of ${count(events.remarked, "event")} could not be parsed`,
  ].filter(Boolean).join("; ");
  return el("p", { class: "soft", id: "unread" }, `${parts.charAt(0).toUpperCase()}${parts.slice(1)}. They are stored; the log has the reasons.`);
}
