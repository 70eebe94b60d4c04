// The filters of the list: words, status, driver, days. The URL has the chosen values; the controls show and change
// them.

import { driverField } from "./combo.js";
import { el, show, svg } from "./dom.js";
import { current, go } from "./route.js";
import { dayKey } from "./time.js";

/** Delay between the last key press and the search, in milliseconds. */
const SEARCH_DELAY_MS = 200;

const STATUSES = [["", "All"], ["in_progress", "Live"], ["completed", "Completed"], ["failed", "Failed"]];

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
    type: "search", id: "search", placeholder: "Search what was said", "aria-label": "Search what was said",
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

  const sort = el("select", { "aria-label": "Sort order of results", onchange: () => go({ sort: sort.value === "newest" ? "newest" : "best" }) },
    el("option", { value: "best" }, "Best match first"), el("option", { value: "newest" }, "Newest first"));
  const reset = el("button", { type: "button", class: "link", onclick: () => {
    ownDays = false;
    go({ q: "", status: "", driver: null, from: "", to: "" });
  } }, "Clear filters");
  const below = el("div", { class: "filtered" }, sort, reset);

  const element = el("form", { class: "filters", role: "search", "aria-label": "Calls", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
    el("div", { class: "search" }, magnifier(), search, hint, clearButton),
    el("div", { class: "segments", role: "radiogroup", "aria-label": "Status" }, radios.map(({ label }) => label)),
    el("div", { class: "two" }, who.element, when),
    between,
    below);

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
    sort.hidden = route.q === "";
    reset.hidden = !isNarrowed();
    below.hidden = sort.hidden && reset.hidden;
  }

  return { element, sync, focus: () => search.select() };
}

/** Returns true if any filter is set. */
export function isNarrowed() {
  const { q, status, driver, from, to } = current();
  return q !== "" || status !== "" || driver !== null || from !== "" || to !== "";
}

function magnifier() {
  return svg("svg", { width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("circle", { cx: 7, cy: 7, r: 4.5, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }),
    svg("path", { d: "M10.500 10.500 14 14", stroke: "currentColor", "stroke-width": 1.5, "stroke-linecap": "round" }));
}
