// Search results: first drivers, calls and numbers that the text names, then turns with marked words, grouped by call,
// last received or best match first. More are loaded on scrolling.

import { Failure, callPath, isAbort, read } from "./api.js";
import { announce, el, show } from "./dom.js";
import { digitsOf, findDrivers, learn, nameOf, shortId } from "./drivers.js";
import { parameters } from "./filters.js";
import { may } from "./rights.js";
import { BASE, UNFILTERED, addressOf, current, go } from "./route.js";
import { snippet } from "./snippet.js";
import { failed, holdsNoCalls, nothing, waitingRows } from "./states.js";
import { dayName, duration, saidAt, time } from "./time.js";
import { SPEAKER, count } from "./labels.js";

/** Maximum number of turns per page. */
const PAGE = 50;

/** Maximum number of drivers and of calls that are offered. */
const MAX_OFFERS = 5;

/** Minimum number of digits of a number that is looked for; the API demands as many. */
const MIN_DIGITS = 4;

/** Maximum number of digits of a number. */
const MAX_DIGITS = 15;

/** Words of the search language. */
const OPERATORS = ["AND", "OR", "NOT"];

/** Maximum number of words in a search, as in the API. */
const MAX_WORDS = 32;

/** Minimum number of letters of a prefix that is offered, and its share of the word. */
const MIN_PREFIX = 3;
const PREFIX_SHARE = 0.6;

/** A group of hits of one call. @typedef {{ list: HTMLElement, number: HTMLElement, hits: number }} Group */

export class SearchResults {
  /** @param {HTMLElement} scroller */
  constructor(scroller) {
    this.scroller = scroller;
    this.shownFor = "";
    /** @type {AbortController | null} */
    this.request = null;
  }

  /** Runs the search in the URL, unless its results are already shown. @param {boolean} [anew] */
  async load(anew = false) {
    const { q, sort, speaker } = current();
    const filter = { q, sort, speaker_type: speaker || null, ...parameters() };
    const wanted = JSON.stringify(filter);
    if (wanted === this.shownFor && !anew) return this.select();
    this.shownFor = wanted;
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    // Earlier results stay until new ones arrive, which avoids flicker while typing.
    if (!this.scroller.querySelector("[data-found]")) show(this.scroller, waitingRows(8));
    const list = el("ul", { "data-found": true, "aria-label": "Results" });
    try {
      const [offers, page] = await Promise.all([
        this.offers(q, request.signal),
        may("read") && this.page(filter, null, request.signal).catch((error) => {
          if (error instanceof Failure && error.status === 400) return error;
          throw error;
        }),
      ]);
      if (request.signal.aborted) return;
      if (page === false) {
        show(this.scroller, offers, offers ? null : nothing("Nothing found", "Your role finds drivers, numbers and whole call ids, but no words."));
        announce(offers ? `${offers.querySelectorAll("a").length} suggestions` : "Nothing found");
        return this.select();
      }
      if (page instanceof Failure) {
        show(this.scroller, offers, unreadable(q, page));
        return this.select();
      }
      const notYet = page.unindexed > 0 && el("p", { class: "state" }, `Up to ${count(page.unindexed, "turn")} are not indexed yet and cannot be found.`);
      if (page.data.length === 0) {
        const prefix = beginnings(q);
        const narrow = Boolean(speaker) || Object.values(parameters()).some((value) => value !== null && value !== "");
        const isEmpty = !narrow && !offers && await holdsNoCalls(request.signal);
        if (request.signal.aborted) return;
        show(this.scroller, offers, isEmpty ? nothing("No calls yet", "There is nothing to search. The first turn that arrives creates the first call.")
          : nothing(offers ? "No words found" : "Nothing found", `No turn ${narrow ? "that matches the filters " : ""}has ${q.includes(" ") ? "these words" : "this word"}.${prefix ? ` ${prefix.includes(" ") ? "Prefixes find" : "A prefix finds"} more: ${prefix}` : ""}`,
            narrow && el("button", { type: "button", onclick: () => go({ ...UNFILTERED, q, sort, call: current().call, turn: current().turn }) }, "Search all calls"),
            prefix ? el("button", { type: "button", onclick: () => go({ q: prefix }) }, prefix.includes(" ") ? "Search by prefixes" : "Search by prefix") : "",
            el("button", { type: "button", onclick: () => go({ q: "" }) }, "Clear the search")));
        announce(offers ? `${offers.querySelectorAll("a").length} suggestions, no words found` : "Nothing found");
        return this.select();
      }
      /** @type {Map<string, Group>} */
      const groups = new Map();
      this.add(list, groups, page.data, Boolean(page.next_cursor));
      show(this.scroller, offers, notYet, list, this.rest(list, groups, filter, page.next_cursor, request.signal));
      this.scroller.scrollTop = 0;
      const found = `${count(page.data.length, "turn")} in ${count(groups.size, "call")} found`;
      announce(page.has_more ? `${found}, and more` : found);
      this.select();
    } catch (error) {
      if (isAbort(error)) return;
      this.shownFor = "";
      show(this.scroller, failed(error, () => this.load(true)));
    }
  }

  /**
   * Returns links to the drivers, calls and numbers that a text names, or null if it names none.
   * @param {string} q
   * @param {AbortSignal} signal
   */
  async offers(q, signal) {
    const digits = digitsOf(q);
    const isId = /^[\w-]{6,}$/.test(q) && /[A-Za-z]/.test(q) && /[\d_]/.test(q);
    const [drivers, call, byNumber] = await Promise.all([
      findDrivers(q, MAX_OFFERS, signal).catch(() => []),
      isId ? this.callById(q, signal) : null,
      digits.length >= MIN_DIGITS && digits.length <= MAX_DIGITS ? read("/calls", { number: q.trim(), limit: 1 }, signal).catch(() => null) : null,
    ]);
    const offer = (/** @type {string} */ what, /** @type {string} */ name, /** @type {string} */ more, /** @type {string} */ href, /** @type {string | null} */ id) =>
      el("li", { class: "row offer" }, el("a", { href, "data-call": id }, el("span", { class: "name" }, el("span", { class: "soft" }, what), el("bdi", null, name)), el("span", { class: "when" }, more)));
    const items = [
      ...drivers.map((one) => offer("Driver", one.name, one.phone_number ?? `number ${one.id}`, addressOf({ ...UNFILTERED, driver: one.id }), null)),
      call && offer("Call", `${nameOf(call)} ${shortId(call.conversation_id)}`, dayName(new Date(call.call_start_time)), addressOf({ call: call.conversation_id, turn: null }), call.conversation_id),
      byNumber?.data.length > 0 && offer("Number", byNumber.data[0].external_number ?? q, "calls with it", addressOf({ ...UNFILTERED, more: { number: q.trim() } }), null),
    ].filter(Boolean);
    return items.length === 0 ? null : el("section", { class: "group offers" }, el("h2", { id: "offers" }, "Go to"), el("ul", { "aria-labelledby": "offers" }, items));
  }

  /** Returns a call by its id or a part of it. @param {string} q @param {AbortSignal} signal @returns {Promise<import("./api.js").Call | null>} */
  async callById(q, signal) {
    const exact = q.length > 20 || !may("read") ? await read(callPath(q), {}, signal).catch(() => null) : null;
    if (!may("read")) {
      if (exact) await learn([exact.driver_id]).catch(() => {});
      return exact;
    }
    const call = exact ?? (await read("/calls", { q, limit: 1 }, signal).catch(() => null))?.data.find((/** @type {import("./api.js").Call} */ one) => one.conversation_id.includes(q)) ?? null;
    if (call) await learn([call.driver_id]).catch(() => {});
    return call;
  }

  /**
   * @param {Record<string, string | number | null>} filter
   * @param {string | null} cursor
   * @param {AbortSignal} signal
   */
  async page(filter, cursor, signal) {
    const { sort, ...rest } = filter;
    let page;
    do {
      // A page may be empty although more pages follow.
      page = await read("/search", { ...rest, order: sort === "newest" ? "desc" : sort, limit: PAGE, cursor }, signal);
      cursor = page.next_cursor;
    } while (page.data.length === 0 && cursor);
    return page;
  }

  /**
   * @param {HTMLElement} list
   * @param {Map<string, Group>} groups
   * @param {Record<string, string | number | null>} filter
   * @param {string | null} cursor
   * @param {AbortSignal} signal
   */
  rest(list, groups, filter, cursor, signal) {
    if (!cursor) return null;
    const end = el("div", { class: "more" }, el("button", { type: "button", onclick: more }, "Show more"));
    const self = this;
    let loading = false;
    async function more() {
      if (loading) return;
      loading = true;
      try {
        const page = await self.page(filter, cursor, signal);
        cursor = page.next_cursor;
        self.add(list, groups, page.data, Boolean(cursor));
        if (!cursor) end.remove();
        self.select();
      } catch (error) {
        if (!isAbort(error)) show(end, el("button", { type: "button", onclick: more }, "Loading failed. Try again"));
      } finally {
        loading = false;
      }
    }
    new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), { root: this.scroller, rootMargin: "400px" }).observe(end);
    return end;
  }

  /**
   * Adds hits to the groups of their calls.
   * @param {HTMLElement} list
   * @param {Map<string, Group>} groups
   * @param {any[]} hits turns with `snippet` and fields of their calls
   * @param {boolean} hasMore whether further pages may have more hits of these calls
   */
  add(list, groups, hits, hasMore) {
    // Calls are in the order of the response. The hits of a call are in the order of the conversation.
    const calls = Map.groupBy(hits, (hit) => hit.conversation_id).values();
    const inOrder = (/** @type {any} */ a, /** @type {any} */ b) => saidAt(a).localeCompare(saidAt(b));
    const sorted = current().sort === "newest" ? [...calls].flatMap((ofCall) => ofCall.sort(inOrder)) : hits;
    for (const hit of sorted) {
      let group = groups.get(hit.conversation_id);
      if (!group) {
        group = { list: el("ul"), number: el("span", { class: "length" }), hits: 0 };
        groups.set(hit.conversation_id, group);
        const start = new Date(hit.call_start_time);
        list.append(el("li", { class: "found-call" }, el("h2", null,
          el("bdi", { class: hit.driver_id === null ? "name unknown" : "name" }, hit.driver_name ?? nameOf(hit)),
          el("span", { class: "when" }, `${dayName(start)}, `, time(hit.call_start_time, "seconds")), group.number), group.list));
      }
      group.hits += 1;
      const offset = Math.max(0, (Date.parse(saidAt(hit)) - Date.parse(hit.call_start_time)) / 1000);
      const who = hit.said_by ?? hit.speaker_type;
      group.list.append(el("li", { class: "row" }, el("a", { href: BASE, "data-call": hit.conversation_id, "data-turn": hit.sequence_number },
        el("span", { class: "snippet", dir: "auto" }, el("span", { class: "by" }, `${SPEAKER[who]}: `), snippet(hit.snippet)),
        el("span", { class: "at", title: "Time from the start of the call" }, duration(offset)))));
    }
    for (const { number, hits } of groups.values()) {
      number.textContent = hasMore ? `${hits.toLocaleString()}+ hits` : count(hits, "hit");
    }
  }

  /** Marks the open turn, and updates the links with the current filters. */
  select() {
    const open = current();
    for (const link of this.scroller.querySelectorAll("a[data-turn]")) {
      const { call, turn } = /** @type {HTMLElement} */ (link).dataset;
      link.setAttribute("href", addressOf({ call, turn: Number(turn) }));
      if (call === open.call && Number(turn) === open.turn) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }
}

/**
 * Returns a query for turns with words that begin as those of a query do, or an empty text if there is no wider one.
 * Phrases become words. Numbers, operators and excluded words stay as they are.
 * @param {string} q
 */
function beginnings(q) {
  // An operator within a phrase is a word.
  const plain = q.replace(/"[^"]*"/g, (phrase) => phrase.toLowerCase());
  // An excluded phrase or group has no wider form.
  if (/\bNOT\s*["(]/.test(plain)) return "";
  /** @type {string[]} */
  const parts = [];
  for (const unit of plain.replaceAll('"', " ").match(/[()]|[^\s()]+/g) ?? []) {
    const stays = parts.at(-1) === "NOT" || OPERATORS.includes(unit) || "()".includes(unit);
    parts.push(...(stays ? [unit] : (unit.match(/[\p{L}\p{N}\p{M}]+\*?/gu) ?? []).map(prefixOf)));
  }
  const wider = parts.join(" ");
  return parts.length <= MAX_WORDS && wider !== q.trim().replace(/\s+/g, " ") ? wider : "";
}

/** Returns the first letters of a word as a prefix, or the word if it is a number or a prefix. @param {string} word */
function prefixOf(word) {
  const letters = [...word];
  if (word.endsWith("*") || !/^\p{L}/u.test(word)) return word;
  return `${letters.slice(0, Math.max(MIN_PREFIX, Math.ceil(letters.length * PREFIX_SHARE))).join("")}*`;
}

/** Says what to change in a search that cannot be read. @param {string} q @param {Failure} failure */
function unreadable(q, failure) {
  const words = q.match(/[\p{L}\p{N}]+/gu) ?? [];
  const plain = words.filter((word) => !OPERATORS.includes(word)).join(" ");
  return nothing("The search cannot be read", `${(failure.details ?? failure.message).replace(/^q: /, "").replace(/^./, (first) => first.toUpperCase())}.`,
    plain ? el("button", { type: "button", onclick: () => go({ q: plain }) }, `Search for ${plain}`) : "",
    el("button", { type: "button", onclick: () => go({ q: "" }) }, "Clear the search"));
}
