// Search results: turns with marked words, best match or newest first. More are loaded on scrolling.

import { isAbort, read } from "./api.js";
import { announce, el, show } from "./dom.js";
import { nameOf } from "./drivers.js";
import { parameters } from "./list.js";
import { BASE, addressOf, current, go } from "./route.js";
import { snippet } from "./snippet.js";
import { failed, nothing, waitingRows } from "./states.js";
import { dayKey, dayName, saidAt, time } from "./time.js";
import { SPEAKER, count } from "./labels.js";

/** Maximum number of turns per page. */
const PAGE = 30;

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
    const { q, sort } = current();
    const filter = { q, sort, ...parameters() };
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
      const page = await this.page(filter, null, request.signal);
      const notYet = page.unindexed > 0 && el("p", { class: "state" }, `Up to ${count(page.unindexed, "turn")} are not indexed yet and cannot be found.`);
      if (page.data.length === 0) {
        show(this.scroller, nothing("Nothing found", `No turn has ${q.includes(" ") ? "these words" : "this word"}. A prefix finds more: ${beginning(q)}*`,
          el("button", { type: "button", onclick: () => go({ q: `${beginning(q)}*` }) }, "Search by prefix"),
          el("button", { type: "button", onclick: () => go({ q: "" }) }, "Clear the search")));
        announce("Nothing found");
        return;
      }
      list.append(...page.data.map((/** @type {any} */ hit) => this.row(hit)));
      show(this.scroller, notYet, list, this.rest(list, filter, page.next_cursor, request.signal));
      this.scroller.scrollTop = 0;
      announce(page.has_more ? `${count(page.data.length, "turn")} found, and more` : `${count(page.data.length, "turn")} found`);
      this.select();
    } catch (error) {
      if (isAbort(error)) return;
      this.shownFor = "";
      show(this.scroller, failed(error, () => this.load(true)));
    }
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
      page = await read("/search", { ...rest, order: sort, limit: PAGE, cursor }, signal);
      cursor = page.next_cursor;
    } while (page.data.length === 0 && cursor);
    return page;
  }

  /**
   * @param {HTMLElement} list
   * @param {Record<string, string | number | null>} filter
   * @param {string | null} cursor
   * @param {AbortSignal} signal
   */
  rest(list, filter, cursor, signal) {
    if (!cursor) return null;
    const end = el("div", { class: "more" }, el("button", { type: "button", onclick: more }, "Show more"));
    const self = this;
    let loading = false;
    async function more() {
      if (loading) return;
      loading = true;
      try {
        const page = await self.page(filter, cursor, signal);
        list.append(...page.data.map((/** @type {any} */ hit) => self.row(hit)));
        cursor = page.next_cursor;
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

  /** @param {any} hit a turn with `snippet` and fields of its call */
  row(hit) {
    const said = new Date(saidAt(hit));
    return el("li", { class: "row" }, el("a", { href: BASE, "data-call": hit.conversation_id, "data-turn": hit.sequence_number },
      el("span", { class: hit.driver_id === null ? "name unknown" : "name" }, el("bdi", null, hit.driver_name ?? nameOf(hit))),
      el("span", { class: "when" }, dayKey(said) === dayKey(new Date()) ? null : `${dayName(said)}, `, time(saidAt(hit), "clock")),
      el("span", { class: "snippet", dir: "auto" }, el("span", { class: "by" }, `${SPEAKER[hit.speaker_type]}: `), snippet(hit.snippet))));
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

/** Returns the first letters of a query's first word. @param {string} q */
function beginning(q) {
  const word = q.match(/[\p{L}\p{N}]+/u)?.[0] ?? "";
  return word.slice(0, Math.max(3, Math.ceil(word.length * 0.6)));
}
