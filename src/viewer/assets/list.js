// The list of calls: running calls first, then quiet ones, then the others by day, newest first; or all that are over
// by length, turns or cost. More are loaded on scrolling.

import { isAbort, read } from "./api.js";
import { announce, arrange, el, show } from "./dom.js";
import { learn, nameOf } from "./drivers.js";
import { ORDERS, isNarrowed, namesOfFilters, parameters } from "./filters.js";
import { may } from "./rights.js";
import { UNFILTERED, addressOf, current, go } from "./route.js";
import { failed, nothing, waitingRows } from "./states.js";
import { counting, dayKey, dayName, duration, lengthOf, roughly, time } from "./time.js";
import { chip, count, ending, neverBegan, rowBadges } from "./labels.js";

/** @typedef {import("./api.js").Call} Call */

/** Maximum number of calls of the first page, and of a later one. */
const PAGE = 50;
const LATER_PAGE = 200;

/** Usual height of a group's heading and of a row, in pixels, as in list.css. */
const HEADING_PX = 27;
const ROW_PX = 63;

/** Distance from the end of the list at which more calls are loaded, in pixels. */
const NEAR_END_PX = 1200;

/** Maximum number of running calls in the list. */
const MAX_LIVE = 200;

/** Time without a turn after which a running call is quiet, in milliseconds. */
const QUIET_AFTER_MS = 5 * 60_000;

/** Interval at which the list is redrawn, because calls become quiet, in milliseconds. */
const REDRAW_INTERVAL_MS = 15_000;

/** A row of the list, and what it was drawn from. @typedef {{ node: HTMLElement, shown: string, call: Call, name: string, drawnFor: string }} Row */

export class CallList {
  /**
   * @param {HTMLElement} scroller
   * @param {{ whenEmpty: () => void, whenSome: () => void }} then called when the service has no call, or some
   */
  constructor(scroller, then) {
    this.scroller = scroller;
    this.then = then;
    /** @type {Map<string, Call>} */
    this.calls = new Map();
    /** Times at which turns of running calls arrived. @type {Map<string, number>} */
    this.lastHeard = new Map();
    /** The last turns of running calls that arrived. @type {Map<string, import("./api.js").Turn>} */
    this.lastTurns = new Map();
    /** Number of all calls that match the filters; null if not counted. @type {number | null} */
    this.total = null;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** What all rows depend on: order and day. */
    this.drawnFor = "";
    /** Order of the calls that are drawn. */
    this.order = "";
    /** URL of a call with the current filters, up to its id. */
    this.address = "";
    /** Link of the open call. @type {Element | null} */
    this.open = null;
    /** The open call. It is shown first if it is not in the loaded part of the list. @type {Call | null} */
    this.pinned = null;
    /** @type {string | null} */
    this.cursor = null;
    this.complete = false;
    this.loading = false;
    this.moreLive = false;
    this.shownFor = "";
    /** @type {AbortController | null} */
    this.request = null;
    this.drawing = 0;
    /** Calls that changed while the list was being loaded. @type {Call[]} */
    this.late = [];
    /** Groups by key. @type {Map<string, { node: HTMLElement, title: HTMLElement, list: HTMLElement, height: string }>} */
    this.groups = new Map();
    this.sum = el("p", { class: "sum", role: "status" });
    this.end = el("div", { class: "more" });
    setInterval(() => document.hidden || this.drawSoon(), REDRAW_INTERVAL_MS);
    new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.more(),
      { root: scroller, rootMargin: `${NEAR_END_PX}px` }).observe(this.end);
    // The observer does not notice that the reader has scrolled to the new end before it was drawn.
    scroller.addEventListener("scroll", () => this.isNearEnd() && this.more(), { passive: true });
  }

  /** Loads the list for the URL, if the filters changed or if `anew`. @param {boolean} [anew] */
  async load(anew = false) {
    const { order } = current();
    const wanted = JSON.stringify([parameters(), order]);
    if (wanted === this.shownFor && !anew) return this.select();
    const another = wanted !== this.shownFor;
    this.shownFor = wanted;
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    this.late = [];
    if (another) {
      this.calls.clear();
      this.total = null;
      show(this.scroller, waitingRows(8));
    }
    try {
      const filter = parameters();
      const live = filter.status === "" && order === "" ? read("/calls", { ...filter, status: "in_progress", limit: MAX_LIVE }, request.signal) : null;
      // If the other request fails first, nobody awaits this one, and its error would be unhandled.
      live?.catch(() => {});
      /** @type {import("./api.js").Page<Call>} */
      const page = await read("/calls", { ...filter, order, limit: PAGE, include: "transfers" }, request.signal);
      /** @type {import("./api.js").Page<Call> | null} */
      const running = await live;
      await learn([...page.data, ...(running?.data ?? [])].map((call) => call.driver_id)).catch(() => {});
      if (request.signal.aborted) return;
      const fresh = new Map([...page.data, ...(running?.data ?? [])].map((call) => [call.conversation_id, call]));
      const oldest = page.data.at(-1);
      // Calls further down stay, which preserves the reader's scroll position.
      const below = another || order !== "" || !page.has_more || !oldest ? [] : [...this.calls.values()].filter((call) =>
        call.status !== "in_progress" && call.call_start_time < oldest.call_start_time);
      for (const call of below) fresh.set(call.conversation_id, call);
      for (const call of fresh.values()) this.keepHeard(call);
      this.calls = fresh;
      if (below.length === 0) {
        this.cursor = page.next_cursor;
        this.complete = !page.has_more;
      }
      this.moreLive = running?.has_more ?? false;
      this.request = null;
      for (const call of this.late) this.take(call);
      this.draw();
      this.countAll(request.signal);
      if (another) this.scroller.querySelector("a[aria-current]")?.scrollIntoView({ block: "center" });
      if (another && isNarrowed()) announce(`${count(this.calls.size, "call")}${this.complete ? "" : " and more"}`);
    } catch (error) {
      if (isAbort(error)) return;
      if (another || this.calls.size === 0) {
        this.shownFor = "";
        show(this.scroller, failed(error, () => this.load(true)));
      }
    } finally {
      if (this.request === request) this.request = null;
    }
  }

  /** Makes the next `load` request the list again. */
  forget() {
    this.shownFor = "";
  }

  /** Loads the next page. */
  async more() {
    if (this.complete || this.loading || this.request || !this.cursor) return;
    this.loading = true;
    const request = new AbortController();
    this.request = request;
    show(this.end, el("span", { class: "spinner", role: "status", "aria-label": "Loading more calls" }));
    try {
      /** @type {import("./api.js").Page<Call>} */
      const page = await read("/calls", { ...parameters(), order: current().order, limit: LATER_PAGE, include: "transfers", cursor: this.cursor }, request.signal);
      await learn(page.data.map((call) => call.driver_id)).catch(() => {});
      if (request.signal.aborted) return;
      for (const call of page.data) this.calls.set(call.conversation_id, call);
      this.cursor = page.next_cursor;
      this.complete = !page.has_more;
      this.draw();
    } catch (error) {
      if (isAbort(error)) return;
      show(this.end, el("button", { type: "button", onclick: () => { this.request = null; this.more(); } }, "Loading failed. Try again"));
    } finally {
      this.loading = false;
      if (this.request === request) this.request = null;
    }
    // The end is still visible if the window is taller than a page of calls.
    if (this.isNearEnd()) this.more();
  }

  /** Returns true if the end of the list is in sight, or nearly. */
  isNearEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return this.end.isConnected && clientHeight > 0 && scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  /** Adds or updates a call. @param {Call} call */
  async put(call) {
    if (this.request) this.late.push(call);
    // At once, because turns may arrive while the driver's name is requested.
    this.take(call);
    await learn([call.driver_id]).catch(() => {});
    this.drawSoon();
  }

  /** @param {Call} call */
  take(call) {
    const known = this.calls.get(call.conversation_id);
    if (known && known.updated_at > call.updated_at) return;
    this.keepHeard(call);
    if (this.belongs(call)) this.calls.set(call.conversation_id, call);
    else this.calls.delete(call.conversation_id);
  }

  /** Updates the last words of a running call. @param {import("./api.js").Turn} turn */
  heard(turn) {
    this.lastTurns.set(turn.conversation_id, turn);
    const call = this.calls.get(turn.conversation_id);
    if (!call || call.status !== "in_progress") return;
    call.last_message = turn;
    this.lastHeard.set(turn.conversation_id, Date.now());
    call.turn_count = Math.max(call.turn_count, turn.sequence_number);
    this.drawSoon();
  }

  /** Keeps the words of a running call that arrived after it was read. @param {Call} call */
  keepHeard(call) {
    const turn = this.lastTurns.get(call.conversation_id);
    if (!turn) return;
    if (call.status !== "in_progress") this.lastTurns.delete(call.conversation_id);
    else if (turn.sequence_number > call.turn_count && turn.created_at >= call.created_at) {
      call.turn_count = turn.sequence_number;
      call.last_message = turn;
    }
  }

  /** Removes a call. @param {string} id */
  remove(id) {
    const wasPinned = this.isPinned(id);
    if (this.pinned?.conversation_id === id) this.pinned = null;
    if (this.calls.delete(id) || wasPinned) this.drawSoon();
  }

  /** Notes the open call. @param {Call} call */
  pin(call) {
    this.pinned = call;
    if (this.isPinned(call.conversation_id)) this.drawSoon();
  }

  /** Returns true if a call is open but not in the loaded part of the whole list. @param {string} id */
  isPinned(id) {
    return id === this.pinned?.conversation_id && id === current().call && !this.calls.has(id) && !isNarrowed() && current().order === "";
  }

  /** Removes a call by its row number. @param {number} row */
  removeRow(row) {
    for (const [id, call] of this.calls) if (call.id === row) this.remove(id);
  }

  /** Returns true if a call matches the filters and is within the loaded part of the list. @param {Call} call */
  belongs(call) {
    const filter = parameters();
    const start = Date.parse(call.call_start_time);
    if (call.parent_conversation_id || call.initiation_source === "subagent_tool") return false;
    const { alert, has_alert: hasAlert, ...others } = current().more;
    const alerts = (call.alerts ?? []).map(({ name }) => name);
    if (alert && !alerts.includes(alert) || hasAlert && String(alerts.length > 0) !== hasAlert) return false;
    // Only the service knows whether a call matches the other filters, and its rank.
    if (Object.keys(others).length > 0 || current().order !== "") return this.calls.has(call.conversation_id);
    if (filter.status && call.status !== filter.status) return false;
    if (filter.driver_id !== null && call.driver_id !== filter.driver_id) return false;
    if (filter.started_after && start < Date.parse(filter.started_after)) return false;
    if (filter.started_before && start >= Date.parse(filter.started_before)) return false;
    if (this.complete || call.status === "in_progress" || this.calls.has(call.conversation_id)) return true;
    return [...this.calls.values()].some((other) => other.status !== "in_progress" && Date.parse(other.call_start_time) <= start);
  }

  /** Redraws once for all changes since the last frame. */
  drawSoon() {
    if (this.drawing || this.shownFor === "" || this.calls.size === 0 && this.request) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.draw();
    });
  }

  draw() {
    if (this.calls.size === 0) {
      if (isNarrowed() || current().order !== "") {
        this.then.whenSome();
        show(this.scroller, nothing("No matching calls", "No call matches these filters.",
          el("button", { type: "button", onclick: () => go({ ...UNFILTERED, call: current().call }) }, "Clear filters")));
      } else {
        this.then.whenEmpty();
        show(this.scroller, nothing("No calls yet", "The first turn that arrives creates the first call, which appears here at once."));
      }
      return;
    }
    this.then.whenSome();
    const { order } = current();
    this.order = order;
    this.drawnFor = `${order} ${dayKey(new Date())}`;
    this.updateLinks();
    const newestFirst = (/** @type {Call} */ a, /** @type {Call} */ b) =>
      a.call_start_time === b.call_start_time ? b.id - a.id : a.call_start_time < b.call_start_time ? 1 : -1;
    // Calls by rank are in the order of the responses, which a map keeps.
    const calls = [...this.calls.values()];
    if (order === "" || order === "asc") calls.sort(newestFirst);
    if (order === "asc") calls.reverse();
    const running = order === "" ? calls.filter((call) => call.status === "in_progress") : [];
    const live = running.filter((call) => this.silence(call) < QUIET_AFTER_MS);
    const quiet = running.filter((call) => this.silence(call) >= QUIET_AFTER_MS);
    const groups = new Map();
    if (ORDERS[order]?.ranked) groups.set("ranked", calls);
    else for (const call of calls) {
      if (order === "" && call.status === "in_progress") continue;
      const day = dayKey(new Date(call.call_start_time));
      if (!groups.has(day)) groups.set(day, []);
      groups.get(day).push(call);
    }
    const nodes = [];
    const pinned = this.pinned && this.isPinned(this.pinned.conversation_id) ? this.pinned : null;
    if (pinned) nodes.push(this.group("open", "Open call", null, [pinned]));
    if (live.length > 0) {
      const title = `${live.length.toLocaleString()}${this.moreLive ? " or more" : ""}`;
      nodes.push(this.group("live", "Live now", title, live));
    }
    if (quiet.length > 0) nodes.push(this.group("quiet", "Quiet for 5 minutes or more", quiet.length.toLocaleString(), quiet));
    for (const [day, ofDay] of groups) {
      nodes.push(this.group(day, day === "ranked" ? ORDERS[order].name : dayName(new Date(ofDay[0].call_start_time)), null, ofDay));
    }
    for (const id of this.rows.keys()) if (!this.calls.has(id) && id !== pinned?.conversation_id) this.rows.delete(id);
    for (const id of this.groups.keys()) if (!["open", "live", "quiet"].includes(id) && !groups.has(id)) this.groups.delete(id);
    if (this.complete) show(this.end);
    else if (!this.end.querySelector("button")) show(this.end, el("button", { type: "button", onclick: () => this.more() }, "Show more"));
    this.sum.hidden = !isNarrowed();
    const sum = `${namesOfFilters().join(", ")}: ${this.total === null ? (this.complete ? count(calls.length, "call") : "…") : count(this.total, "call")}`;
    if (this.sum.textContent !== sum) this.sum.textContent = sum;
    arrange(this.scroller, [this.sum, ...nodes, this.end]);
    this.select();
  }

  /** @param {string} key @param {string} name @param {string | null} number @param {Call[]} calls */
  group(key, name, number, calls) {
    let group = this.groups.get(key);
    if (!group) {
      const title = el("h2", { id: `group-${key}` });
      const list = el("ul", { "aria-labelledby": `group-${key}` });
      group = { node: el("section", { class: key === "live" ? "group live-group" : "group" }, title, list), title, list, height: "" };
      this.groups.set(key, group);
    }
    show(group.title, name, number && el("span", { class: "count" }, number));
    arrange(group.list, calls.map((call) => this.row(call)));
    // The height that the browser assumes until it has drawn the group.
    const height = `auto ${HEADING_PX + calls.length * ROW_PX}px`;
    if (group.height !== height) group.node.style.containIntrinsicBlockSize = group.height = height;
    return group.node;
  }

  /** Returns the time since a running call was last heard, in milliseconds. @param {Call} call */
  silence(call) {
    return Date.now() - Math.max(this.lastHeard.get(call.conversation_id) ?? 0, Date.parse(call.last_turn_time ?? call.call_start_time));
  }

  /** Counts the calls that match the filters. @param {AbortSignal} signal */
  async countAll(signal) {
    if (this.complete || !isNarrowed()) return;
    try {
      /** @type {import("./api.js").Page<Call>} */
      const page = await read("/calls", { ...parameters(), limit: 1, include_total: "true" }, signal);
      this.total = page.total ?? null;
      this.drawSoon();
    } catch {
      // The list is shown without its total.
    }
  }

  /** Returns the row of a call, and updates it only if it looks different. @param {Call} call */
  row(call) {
    const live = call.status === "in_progress";
    const name = nameOf(call);
    const { order } = this;
    const isPinned = this.isPinned(call.conversation_id);
    const drawnFor = `${this.drawnFor}${isPinned ? " pinned" : ""}`;
    const row = this.rows.get(call.conversation_id);
    // A call that is over looks different only if it changes. A list may have ten thousand of them.
    if (row && !live && row.call === call && row.name === name && row.drawnFor === drawnFor) return row.node;
    const about = this.about(call);
    const marks = rowBadges(call);
    const quiet = live && this.silence(call) >= QUIET_AFTER_MS;
    const shown = JSON.stringify([name, about, marks, quiet, drawnFor, call.call_start_time, call.turn_count, call.duration_seconds, call.call_end_time]);
    if (row) Object.assign(row, { call, name, drawnFor });
    if (row?.shown === shown) return row.node;
    const known = call.driver_id !== null || call.external_number !== null;
    const start = new Date(call.call_start_time);
    // Days are headings, but not of running calls, of calls by rank and of one that is shown first.
    const dated = (live || isPinned || ORDERS[order]?.ranked) && dayKey(start) !== dayKey(new Date());
    const length = live ? !quiet && counting(call.call_start_time) : neverBegan(call) ? null : duration(lengthOf(call));
    const inside = [
      el("span", { class: known ? "name" : "name unknown" }, live && !quiet && el("span", { class: "dot" }), el("bdi", null, name)),
      el("span", { class: "when" }, live && el("span", { class: "unseen" }, "Live, since "), dated && `${dayName(start)}, `, time(call.call_start_time, "seconds")),
      el("span", { class: "about", dir: "auto" }, about),
      el("span", { class: "length" }, length, length && " · ", count(call.turn_count, "turn"), order === "costliest" && call.cost !== null && ` · ${count(call.cost, "credit")}`),
      marks.some(({ kind }) => kind !== "live") && el("span", { class: "badges" }, marks.filter(({ kind }) => kind !== "live").map(chip)),
    ];
    if (row) {
      // The link is reused, because it may have the reader's focus.
      show(/** @type {Element} */ (row.node.firstElementChild), inside);
      row.shown = shown;
      return row.node;
    }
    const node = el("li", { class: "row" }, el("a", { href: this.addressOf(call.conversation_id), "data-call": call.conversation_id }, inside));
    this.rows.set(call.conversation_id, { node, shown, call, name, drawnFor });
    return node;
  }

  /** Returns one line of text about a call. @param {Call} call */
  about(call) {
    if (call.status === "in_progress") {
      const silence = this.silence(call);
      if (silence >= QUIET_AFTER_MS) return `Silent for ${roughly(silence / 1000)}`;
      return call.last_message?.message_text ?? (call.turn_count > 0 || !may("read") ? "In conversation" : "Waiting for the first words…");
    }
    if (call.status === "failed") return ending(call).replace(/^The call failed: (.)/, (_, first) => first.toUpperCase());
    return call.title ?? call.summary ?? call.termination_reason ?? (may("read") ? "No summary" : ending(call));
  }

  /** Updates the links of the rows if the filters changed. */
  updateLinks() {
    const list = addressOf({ call: null, turn: null });
    const address = `${list}${list.includes("?") ? "&" : "?"}call=`;
    if (address === this.address) return;
    this.address = address;
    for (const [id, { node }] of this.rows) node.firstElementChild?.setAttribute("href", this.addressOf(id));
  }

  /** @param {string} id */
  addressOf(id) {
    return this.address + encodeURIComponent(id);
  }

  /** Marks the open call, and updates the links with the current filters. */
  select() {
    this.updateLinks();
    const open = this.rows.get(current().call ?? "")?.node.firstElementChild ?? null;
    if (open !== this.open) this.open?.removeAttribute("aria-current");
    open?.setAttribute("aria-current", "true");
    this.open = open;
    // Another call than the one that is shown first is open.
    const first = this.groups.get("open")?.list.querySelector("a");
    if (first?.isConnected && !this.isPinned(first.dataset.call ?? "")) this.drawSoon();
  }
}
