// The page "Access log": who read, heard, searched, exported or erased which call, by call, name, action and days.

import { isAbort, read } from "./api.js";
import { el, show } from "./dom.js";
import { UNFILTERED, addressOf, current, go } from "./route.js";
import { failed, nothing, waiting } from "./states.js";
import { dayAndTime, startOfDay } from "./time.js";

/** Maximum number of accesses per page. */
const PAGE = 50;

/** @type {Record<string, string>} */
const ACTIONS = { list: "Listed", read: "Read", listen: "Listened", search: "Searched", export: "Exported", backup: "Downloaded a backup", erase: "Erased" };

/** @type {AbortController | null} */
let request = null;

/** Shows the accesses that match the filters in the URL. @param {HTMLElement} pane */
export async function accessLog(pane) {
  const { call, who, action, from, to } = current();
  request?.abort();
  request = new AbortController();
  const { signal } = request;
  const field = (/** @type {string} */ label, /** @type {HTMLElement} */ input) => el("label", null, el("span", { class: "soft" }, label), input);
  const value = (/** @type {Event} */ event) => /** @type {HTMLInputElement | HTMLSelectElement} */ (event.target).value.trim();
  const text = (/** @type {string} */ name, /** @type {string} */ shown, /** @type {string} */ hint, /** @type {(value: string) => void} */ then) =>
    el("input", { type: "text", name, value: shown, placeholder: hint, maxlength: "256", autocomplete: "off", spellcheck: "false", onchange: (/** @type {Event} */ event) => then(value(event)) });
  const chosen = el("select", { name: "action", onchange: (/** @type {Event} */ event) => go({ action: value(event) }) },
    el("option", { value: "" }, "Any"), Object.entries(ACTIONS).map(([key, name]) => el("option", { value: key }, name)));
  chosen.value = action;
  const day = (/** @type {"from" | "to"} */ name, /** @type {string} */ shown) =>
    el("input", { type: "date", name, value: shown, onchange: (/** @type {Event} */ event) => go({ [name]: value(event) }) });
  // The controls are built again, so the focus returns to the one that had it.
  const focused = pane.contains(document.activeElement) ? document.activeElement?.getAttribute("name") : null;
  const body = el("div", null, waiting("Loading…"));
  show(pane, el("div", { class: "page", tabindex: "0", role: "region", "aria-label": "Access log" },
    el("h1", null, "Access log"),
    el("p", { class: "lead" }, "Who read, heard, searched, exported or erased calls, newest first. The words of a search are not stored."),
    el("form", { class: "stats-bar narrow", role: "search", "aria-label": "Accesses", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
      field("Who", text("who", who, "Anybody", (who) => go({ who }))),
      field("Call", text("call", call ?? "", "Any call id", (call) => go({ call: call || null }))),
      field("What", chosen), field("From", day("from", from)), field("To", day("to", to))),
    body));
  if (focused) /** @type {HTMLElement | null} */ (pane.querySelector(`[name="${CSS.escape(focused)}"]`))?.focus();
  const next = (/** @type {string | null} */ cursor) => read("/access-log", {
    conversation_id: call, user: who, action, accessed_after: from && startOfDay(from), accessed_before: to && startOfDay(to, 1), limit: PAGE, cursor,
  }, signal);
  const all = el("button", { type: "button", onclick: () => go({ ...UNFILTERED, view: "accesses" }) }, "Show all");
  try {
    const page = await next(null);
    if (page.data.length === 0) {
      const isNarrowed = addressOf({}) !== addressOf({ ...UNFILTERED, view: "accesses" });
      show(body, isNarrowed ? nothing("No matching accesses", "No access matches these filters.", all)
        : nothing("No accesses yet", "An access appears here within about a second. Nothing is logged where no token is needed."));
      return;
    }
    const table = accessTable("Accesses to calls", page.data);
    const more = el("div", { class: "more" });
    show(body, el("section", { class: "figure" }, table, more));
    offerMore(page.next_cursor);

    /** @param {string | null} cursor */
    function offerMore(cursor) {
      show(more, cursor && el("button", { type: "button", onclick: () => append(cursor) }, "Show more"));
    }

    /** @param {string} cursor */
    async function append(cursor) {
      try {
        const page = await next(cursor);
        table.querySelector("tbody")?.append(...page.data.map(row));
        offerMore(page.next_cursor);
      } catch (error) {
        if (!isAbort(error)) show(more, failed(error, () => append(cursor)));
      }
    }
  } catch (error) {
    if (!isAbort(error)) show(body, failed(error, () => accessLog(pane)));
  }
}

/** Returns a table of accesses. @param {string} name @param {any[]} accesses */
export function accessTable(name, accesses) {
  return el("div", { class: "table", tabindex: "0", role: "region", "aria-label": name },
    el("table", { class: "accesses" }, el("thead", null, el("tr", null, ["When", "Who", "What", "Call"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", null, accesses.map(row))));
}

/** Calls of an access that names none, by action. @type {Record<string, string>} */
const SEVERAL = { read: "All calls, live", list: "A list", backup: "All calls" };

/** @param {any} access */
function row(access) {
  const by = access.user === null ? "Token without a name" : el("a", { href: addressOf({ ...UNFILTERED, view: "accesses", who: access.user }), title: "Show the accesses of this name" }, el("bdi", null, access.user));
  const call = access.conversation_id === null ? SEVERAL[access.action] ?? "Several calls"
    : access.action === "erase" ? access.conversation_id : el("a", { href: addressOf({ ...UNFILTERED, view: "calls", call: access.conversation_id }) }, access.conversation_id);
  return el("tr", null, el("td", null, dayAndTime(access.at)), el("td", null, by), el("td", null, ACTIONS[access.action] ?? access.action), el("td", { class: access.conversation_id !== null && "mono" }, call));
}
