// A field for choosing a driver by name, id or phone number: an ARIA combobox with a list.

import { el, show } from "./dom.js";
import { isAbort } from "./api.js";
import { driver, everyone, findDrivers, learn } from "./drivers.js";

/** Maximum number of options. */
const MAX_OPTIONS = 50;

/** Maximum length of a text that the API looks for. */
const MAX_TEXT = 200;

/**
 * Returns drivers with a text in the name or in the phone number, and those whose id begins with it, by name.
 * @param {string} text
 * @param {import("./api.js").Driver[]} all
 * @param {AbortSignal} signal
 */
async function matching(text, all, signal) {
  const found = await findDrivers(text.slice(0, MAX_TEXT), MAX_OPTIONS, signal);
  const ids = new Set(found.map((d) => d.id));
  const byId = all.filter((d) => String(d.id).startsWith(text) && !ids.has(d.id));
  return [...found, ...byId].sort((a, b) => a.name.localeCompare(b.name));
}

/**
 * @param {(id: number | null) => void} chosen
  * @param {string} name unique among all fields
 * @returns {{ element: HTMLElement, set: (id: number | null) => void }}
 */
export function driverField(chosen, name) {
  /** @type {number | null} */
  let value = null;
  /** @type {import("./api.js").Driver[]} */
  let offered = [];
  let at = -1;
  /** @type {AbortController | null} */
  let request = null;
  /** Resolves when the options fit the text. */
  let offering = Promise.resolve();

  const list = el("ul", { class: "options", id: `${name}-options`, role: "listbox", "aria-label": "Drivers", hidden: true });
  const input = el("input", {
    type: "text", role: "combobox", placeholder: "Any driver", "aria-label": "Driver", "aria-expanded": "false",
    "aria-controls": `${name}-options`, "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false",
    oninput: () => open(), onfocus: () => input.select(), onclick: () => open(), onblur: () => close(true), onkeydown: key,
  });

  function open() {
    offering = offer();
  }

  async function offer() {
    const text = input.value.trim();
    const pristine = value !== null && text === label(value);
    request?.abort();
    request = new AbortController();
    const { signal } = request;
    try {
      const all = await everyone();
      const found = pristine || !text ? all : await matching(text, all, signal);
      if (signal.aborted || document.activeElement !== input) return;
      offered = found.slice(0, MAX_OPTIONS);
      at = -1;
      draw(all.length === 0 ? "No drivers are stored yet." : "No matching driver.");
    } catch (error) {
      if (isAbort(error)) return;
      offered = [];
      draw("The drivers could not be loaded.");
    }
  }

  /** @param {string} none */
  function draw(none) {
    show(list, offered.length === 0 && el("li", { class: "none", role: "option", "aria-disabled": "true", "aria-selected": "false" }, none),
      offered.map((d, n) => el("li", {
        id: `${name}-option-${n}`, role: "option", "aria-selected": String(n === at),
        onpointerdown: (/** @type {Event} */ event) => { event.preventDefault(); choose(d.id); },
      }, el("bdi", null, d.name), el("span", { class: "soft" }, d.id))));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    point();
  }

  function point() {
    [...list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === at)));
    if (at >= 0 && offered.length > 0) input.setAttribute("aria-activedescendant", `${name}-option-${at}`);
    else input.removeAttribute("aria-activedescendant");
    list.children[at]?.scrollIntoView({ block: "nearest" });
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return open();
      const step = event.key === "ArrowDown" ? 1 : -1;
      offering.then(() => {
        at = Math.max(-1, Math.min(offered.length - 1, at + step));
        point();
      });
    } else if (event.key === "Enter") {
      if (input.value.trim() === "") return choose(null);
      offering.then(() => {
        if (offered[Math.max(at, 0)] && !list.hidden) choose(offered[Math.max(at, 0)].id);
      });
    } else if (event.key === "Escape" && !list.hidden) {
      event.stopPropagation();
      close(true);
    }
  }

  /** @param {number | null} id */
  function choose(id) {
    set(id);
    close(false);
    chosen(id);
  }

  /** @param {boolean} restore whether to discard text that was typed but not chosen */
  function close(restore) {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    if (!restore) return;
    if (input.value.trim() === "" && value !== null) choose(null);
    else input.value = value === null ? "" : label(value);
  }

  /** @param {number} id */
  function label(id) {
    return driver(id)?.name ?? `Driver ${id}`;
  }

  /** @param {number | null} id */
  function set(id) {
    if (id === value && document.activeElement === input) return;
    value = id;
    input.value = id === null ? "" : label(id);
    if (id !== null && !driver(id)) learn([id]).then(() => value === id && (input.value = label(id)), () => {});
  }

  return { element: el("div", { class: "combo" }, input, list), set };
}
