// Filters beyond status, driver and days: chips for frequent ones and those that are set, and a panel with all.

import { alertNames } from "./alerts.js";
import { announce, el, show } from "./dom.js";
import { ANSWERED_BY, CHANNEL, DIRECTION, OUTCOME, language } from "./labels.js";
import { may } from "./rights.js";
import { current, go } from "./route.js";

/** Filters that are chips in any case. */
const FREQUENT = /** @type {const} */ ([["answered_by", "voicemail"], ["answered_by", "no_answer"], ["outcome", "failure"], ["tool_error", "true"]]);

/** Filters with few values, with their names. @type {Record<string, { label: string, values: Record<string, string> }>} */
const CHOICES = {
  answered_by: { label: "Answered by", values: ANSWERED_BY },
  outcome: { label: "Goal", values: OUTCOME },
  direction: { label: "Direction", values: DIRECTION },
  channel: { label: "Channel", values: CHANNEL },
  has_alert: { label: "Alerts", values: { true: "Has an alert", false: "No alert" } },
  tool_error: { label: "Tools", values: { true: "Tool error", false: "No tool error" } },
  has_audio: { label: "Recording", values: { true: "Has a recording", false: "No recording" } },
  reconciled: { label: "Record", values: { true: "Has a record", false: "No record" } },
  has_driver: { label: "Driver", values: { true: "Known driver", false: "Unknown driver" } },
};

/** Filters with a text. @type {Record<string, { label: string, hint: string, named: (value: string) => string }>} */
const TEXTS = {
  alert: { label: "Alert", hint: "name", named: (value) => `Alert: ${value}` },
  agent_id: { label: "Agent id", hint: "agent_…", named: (value) => `Agent ${value}` },
  number: { label: "Phone number", hint: "+1 555 010 0042", named: (value) => `Number ${value}` },
  language: { label: "Language", hint: "es", named: language },
  environment: { label: "Environment", hint: "production", named: (value) => `Environment ${value}` },
  tag: { label: "Tag", hint: "tag id", named: (value) => `Tag ${value}` },
  tool: { label: "Tool called", hint: "lookup_load", named: (value) => `Tool ${value}` },
};

/** Filters with a number of minutes; the API takes seconds. @type {Record<string, { label: string, named: string }>} */
const MINUTES = {
  min_seconds: { label: "At least, minutes", named: "At least" },
  max_seconds: { label: "At most, minutes", named: "At most" },
};

/** Filters that tell what was said. */
const TELLING = ["alert", "has_alert"];

/** Id of the list of known alerts. */
const ALERTS_LIST = "known-alerts";

/** Returns a filter in words. @param {string} name @param {string} value */
export function nameOfFilter(name, value) {
  if (CHOICES[name]) return CHOICES[name].values[value] ?? `${CHOICES[name].label}: ${value}`;
  if (MINUTES[name]) return `${MINUTES[name].named} ${Number((Number(value) / 60).toFixed(2))} min`;
  return TEXTS[name]?.named(value) ?? `${name}: ${value}`;
}

/** Sets or removes a filter. @param {string} name @param {string} value empty to remove it */
function set(name, value) {
  const more = { ...current().more };
  if (value) more[name] = value;
  else delete more[name];
  go({ more });
}

export class MoreFilters {
  constructor() {
    /** @type {Map<string, HTMLInputElement | HTMLSelectElement>} */
    this.fields = new Map();
    this.alerts = el("datalist", { id: ALERTS_LIST });
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Frequent filters" });
    this.panel = el("div", { class: "more-filters", id: "more-filters", hidden: true },
      Object.entries(CHOICES).map(([name, { label, values }]) => this.field(name, label, el("select", null,
        el("option", { value: "" }, "Any"), Object.entries(values).map(([value, text]) => el("option", { value }, text))))),
      Object.entries(TEXTS).map(([name, { label, hint }]) => this.field(name, label, el("input", { type: "text", placeholder: hint, maxlength: "200", autocomplete: "off", spellcheck: "false" }))),
      Object.entries(MINUTES).map(([name, { label }]) => this.field(name, label, el("input", { type: "number", min: "0", step: "0.5" }))),
      this.alerts);
    this.button = el("button", { type: "button", class: "link", "aria-controls": "more-filters", "aria-expanded": "false", onclick: () => this.toggle() }, "More filters");
  }

  /**
   * @param {string} name
   * @param {string} label
   * @param {HTMLInputElement | HTMLSelectElement} field
   */
  field(name, label, field) {
    this.fields.set(name, field);
    if (name === "alert") field.setAttribute("list", ALERTS_LIST);
    const minutes = name in MINUTES;
    field.addEventListener("change", () => {
      const value = field.value.trim();
      set(name, minutes && value ? String(Math.round(Number(value) * 60)) : value);
    });
    return el("label", null, el("span", null, label), field);
  }

  toggle() {
    this.panel.hidden = !this.panel.hidden;
    this.button.setAttribute("aria-expanded", String(!this.panel.hidden));
    if (!this.panel.hidden) this.panel.querySelector("select")?.focus();
  }

  /** Shows the values in the URL. */
  sync() {
    const { more } = current();
    for (const [name, field] of this.fields) {
      const value = more[name] ?? "";
      if (field.parentElement && TELLING.includes(name)) field.parentElement.hidden = !may("read");
      if (document.activeElement !== field) field.value = name in MINUTES && value ? String(Number(value) / 60) : value;
    }
    const alerts = alertNames();
    show(this.alerts, alerts.map((name) => el("option", { value: name })));
    /** @type {[string, string][]} */
    const shown = FREQUENT.map(([name, value]) => [name, value]);
    if (alerts.length > 0) shown.push(["has_alert", "true"]);
    for (const [name, value] of Object.entries(more)) {
      if (!shown.some(([other, wanted]) => other === name && wanted === value)) shown.push([name, value]);
    }
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.chip;
    show(this.chips, shown.map(([name, value]) => {
      const isSet = more[name] === value;
      const text = nameOfFilter(name, value);
      return el("button", { type: "button", class: "filter-chip", "aria-pressed": String(isSet), "data-chip": `${name}=${value}`,
        onclick: () => {
          set(name, isSet ? "" : value);
          announce(isSet ? `${text}: removed` : `${text}: set`);
        } }, text, isSet && el("span", { "aria-hidden": "true" }, "×"));
    }));
    if (focused) /** @type {HTMLElement | null} */ (this.chips.querySelector(`[data-chip="${CSS.escape(focused)}"]`))?.focus();
  }
}
