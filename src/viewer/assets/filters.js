// The controls above the list: the search box, filters and order. The URL has the chosen values; the controls show and
// change them. more_filters.js has the filters that few readers need.

import { address } from "./api.js";
import { driverField } from "./combo.js";
import { el, show, svg } from "./dom.js";
import { driver } from "./drivers.js";
import { STATUS } from "./labels.js";
import { MoreFilters, nameOfFilter } from "./more_filters.js";
import { may } from "./rights.js";
import { UNFILTERED, current, go } from "./route.js";
import { dayKey, shortDay, startOfDay } from "./time.js";

/** Delay between the last key press and the search, in milliseconds. */
const SEARCH_DELAY_MS = 200;

const STATUSES = [["", "All"], ["in_progress", "Live"], ["completed", "Completed"], ["failed", "Failed"]];

/** Orders of the list. @type {Record<string, { name: string, ranked: boolean }>} */
export const ORDERS = {
  "": { name: "Newest first", ranked: false },
  asc: { name: "Oldest first", ranked: false },
  longest: { name: "Longest first", ranked: true },
  most_turns: { name: "Most turns first", ranked: true },
  costliest: { name: "Costliest first", ranked: true },
};

/** Returns the day this many days ago, in the reader's time zone. @param {number} days */
function daysAgo(days) {
  const now = new Date();
  return dayKey(new Date(now.getFullYear(), now.getMonth(), now.getDate() - days));
}

/** @returns {{ name: string, from: string, to: string }[]} */
function spans() {
  const now = new Date();
  const month = (/** @type {number} */ back, /** @type {number} */ day) => dayKey(new Date(now.getFullYear(), now.getMonth() - back, day));
  return [
    { name: "Any time", from: "", to: "" },
    { name: "Today", from: daysAgo(0), to: "" },
    { name: "Last 7 days", from: daysAgo(6), to: "" },
    { name: "Last 30 days", from: daysAgo(29), to: "" },
    { name: "Last month", from: month(1, 1), to: dayKey(new Date(now.getFullYear(), now.getMonth(), 0)) },
  ];
}

/** Creates the controls. `sync` shows the values in the URL. */
export function filters() {
  /** @type {number | undefined} */
  let timer;
  const search = el("input", {
    type: "search", id: "search", placeholder: "Name, number, call id or words", "aria-label": "Search calls: name, number, call id or words",
    autocomplete: "off", enterkeyhint: "search", maxlength: "200",
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(apply, SEARCH_DELAY_MS);
      decorate();
    },
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter") apply();
      if (event.key === "Escape" && search.value) {
        event.stopPropagation();
        clear();
      }
    },
  });
  const apply = () => {
    clearTimeout(timer);
    const q = search.value.trim();
    // All key presses of one search are one step in the history.
    if (q !== current().q) go({ q, turn: null }, { replace: current().q !== "" && q !== "" });
  };
  const clear = () => {
    search.value = "";
    apply();
    decorate();
    search.focus();
  };
  const hint = el("kbd", { "aria-hidden": "true" }, "/");
  const clearButton = el("button", { type: "button", class: "quiet clear", "aria-label": "Clear the search", onclick: clear }, "×");
  const decorate = () => {
    hint.hidden = search.value !== "";
    clearButton.hidden = search.value === "";
  };

  const radios = STATUSES.map(([value, name]) => {
    const radio = el("input", { type: "radio", name: "status", value, onchange: () => go({ status: value }) });
    return { radio, label: el("label", null, radio, name) };
  });
  const who = driverField((id) => go({ driver: id }), "list-driver");

  const when = el("select", { "aria-label": "Days", onchange: chooseSpan });
  const from = el("input", { type: "date", onchange: () => go({ from: from.value }) });
  const to = el("input", { type: "date", onchange: () => go({ to: to.value }) });
  const between = el("div", { class: "two" }, el("label", null, el("span", null, "From"), from), el("label", null, el("span", null, "To"), to));
  let ownDays = false;

  function chooseSpan() {
    ownDays = when.value === "own";
    if (ownDays) {
      between.hidden = false;
      from.focus();
      return;
    }
    const span = spans()[Number(when.value)];
    go({ from: span.from, to: span.to });
    between.hidden = true;
  }

  const more = new MoreFilters();
  const order = el("select", { "aria-label": "Order", onchange: () => go({ order: /** @type {any} */ (order.value) }) },
    Object.entries(ORDERS).map(([value, { name }]) => el("option", { value }, name)));
  const sort = el("select", { "aria-label": "Sort order of results", onchange: () => go({ sort: sort.value === "best" ? "best" : "newest" }) },
    el("option", { value: "newest" }, "Last received first"), el("option", { value: "best" }, "Best match first"));
  const speaker = el("select", { "aria-label": "Speaker", onchange: () => go({ speaker: /** @type {any} */ (speaker.value) }) },
    el("option", { value: "" }, "Said by anyone"), el("option", { value: "agent" }, "Said by the agent"), el("option", { value: "driver" }, "Said by the driver"));
  const reset = el("button", { type: "button", class: "link", onclick: () => {
    ownDays = false;
    const { call, turn, view, order } = current();
    go({ ...UNFILTERED, call, turn, view, order });
  } }, "Clear filters");
  const table = el("a", { download: true, title: "The calls of this list as a table, one row a call (CSV)" }, "Export");
  const below = el("div", { class: "filtered" }, order, sort, speaker, more.button, table, reset);

  const element = el("form", { class: "filters", role: "search", "aria-label": "Calls", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
    el("div", { class: "search" }, magnifier(), search, hint, clearButton),
    el("div", { class: "segments", role: "radiogroup", "aria-label": "Status" }, radios.map(({ label }) => label)),
    el("div", { class: "two" }, who.element, when),
    between,
    more.chips, below, more.panel);

  function sync() {
    const route = current();
    if (document.activeElement !== search) search.value = route.q;
    decorate();
    for (const { radio } of radios) radio.checked = radio.value === route.status;
    who.set(route.driver);
    const choices = spans();
    const fits = choices.findIndex((span) => span.from === route.from && span.to === route.to);
    const own = ownDays || fits < 0;
    show(when, choices.map((span, n) => el("option", { value: n }, span.name)), el("option", { value: "own" }, "Between two days"));
    when.value = own ? "own" : String(fits);
    between.hidden = !own;
    if (document.activeElement !== from) from.value = route.from;
    if (document.activeElement !== to) to.value = route.to;
    sort.value = route.sort;
    speaker.value = route.speaker;
    sort.hidden = speaker.hidden = route.q === "";
    order.value = route.order;
    order.hidden = route.q !== "";
    more.sync();
    // Exports have the conversations of sub-agents by default, the list has not.
    table.setAttribute("href", address("/export", { format: "calls-csv", include_children: "false", ...parameters() }));
    table.hidden = route.q !== "" || !may("read");
    reset.hidden = !isNarrowed();
  }

  return { element, sync, focus: () => search.select() };
}

/** Returns the API parameters for the filters in the URL. */
export function parameters() {
  const { status, driver, from, to, more } = current();
  return {
    ...more,
    status,
    driver_id: driver,
    started_after: from && startOfDay(from),
    started_before: to && startOfDay(to, 1),
  };
}

/** Returns true if any filter is set. */
export function isNarrowed() {
  const { q, status, driver, from, to, more } = current();
  return q !== "" || status !== "" || driver !== null || from !== "" || to !== "" || Object.keys(more).length > 0;
}

/** Returns the filters of the URL in words, such as `Failed`, `Last 7 days`. */
export function namesOfFilters() {
  const { status, driver: id, from, to, more } = current();
  const span = spans().find((one) => one.from === from && one.to === to);
  const days = span ? span.name : `${from ? shortDay(from) : "…"} to ${to ? shortDay(to) : "today"}`;
  return [
    status && STATUS[status],
    id !== null && (driver(id)?.name ?? `Driver ${id}`),
    ...Object.entries(more).map(([name, value]) => nameOfFilter(name, value)),
    (from || to) && days,
  ].filter((name) => name !== false && name !== "");
}

function magnifier() {
  return svg("svg", { width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("circle", { cx: 7, cy: 7, r: 4.5, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }),
    svg("path", { d: "M10.500 10.500 14 14", stroke: "currentColor", "stroke-width": 1.5, "stroke-linecap": "round" }));
}
