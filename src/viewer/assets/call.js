// The view of one call: header, conversation, details and recording. It follows the call while it is open.

import { Failure, callPath, isAbort, read } from "./api.js";
import { el, show } from "./dom.js";
import { driver, learn, nameOf } from "./drivers.js";
import { callDetails } from "./call_details.js";
import { Player } from "./player.js";
import { may } from "./rights.js";
import { addressOf, current, go } from "./route.js";
import { actions } from "./share.js";
import { failed, nothing, waiting } from "./states.js";
import { absolute, counting, dayAndTime, duration, lengthOf } from "./time.js";
import { Turns } from "./turns.js";
import { STATUS, alertBadges, badges, chip, count, neverBegan, toolBadges } from "./labels.js";
import { endCall } from "./end_call.js";

/** @typedef {import("./api.js").Call} Call */
/** @typedef {import("./api.js").Turn} Turn */

/** Maximum number of turns per page. */
const PAGE = 500;

export class CallView {
  /**
   * @param {HTMLElement} pane
   * @param {(id: string) => void} erased called for a call that does not exist any more
   * @param {(call: Call) => void} shown called when the call is shown or changed
   */
  constructor(pane, erased, shown) {
    this.pane = pane;
    this.shown = shown;
    this.erased = erased;
    /** A call that was not found, or was erased while it was open. @type {string | null} */
    this.absent = null;
    /** Turns that arrived while the call was being loaded. @type {Turn[]} */
    this.early = [];
    /** @type {string | null} */
    this.id = null;
    /** @type {Call | null} */
    this.call = null;
    /** @type {Turns | null} */
    this.turns = null;
    /** @type {import("./api.js").ToolCall[]} */
    this.tools = [];
    /** @type {Player | null} */
    this.player = null;
    /** @type {AbortController | null} */
    this.request = null;
  }

  /** Shows the call in the URL. */
  async open() {
    const { call: id, turn, q } = current();
    if (id === null || id === this.absent) {
      if (id === null) this.absent = null;
      return this.id === null ? undefined : this.close();
    }
    this.absent = null;
    if (id === this.id && this.turns) {
      this.turns.mark(q);
      if (turn !== null) this.turns.point(turn);
      return;
    }
    this.close();
    this.id = id;
    // No loading message for a call that loads quickly.
    const slow = setTimeout(() => show(this.pane, waiting("Loading the call…")), 150);
    const request = new AbortController();
    this.request = request;
    try {
      const [call, first] = await Promise.all([
        read(callPath(id), {}, request.signal),
        may("read") ? read(`${callPath(id)}/transcriptions`, { order: "time", limit: PAGE }, request.signal) : { data: [], next_cursor: null },
      ]);
      await learn([call.driver_id]).catch(() => {});
      if (request.signal.aborted) return;
      clearTimeout(slow);
      this.build(call, first.data);
      document.title = `${nameOf(call)} · transcribe-hook`;
      await Promise.all([this.rest(id, first.next_cursor, request.signal), this.readTools().catch(() => {})]);
      this.turns?.mark(q);
      const pointed = current().turn;
      if (pointed !== null) this.turns?.point(pointed);
    } catch (error) {
      if (isAbort(error)) return;
      clearTimeout(slow);
      this.id = null;
      if (error instanceof Failure && error.status === 404) {
        this.absent = id;
        this.erased(id);
        show(this.pane, nothing("Call not found", `There is no call with the id ${id}. It may have been erased.`,
          el("a", { class: "button", href: addressOf({ call: null, turn: null }) }, "Back to the calls")));
      } else {
        show(this.pane, failed(error, () => this.open()));
      }
    } finally {
      clearTimeout(slow);
    }
  }

  close() {
    this.request?.abort();
    this.turns?.close();
    this.player = this.turns = this.call = this.id = null;
    this.tools = [];
    this.early = [];
    document.title = "Calls · transcribe-hook";
  }

  /**
   * Loads the remaining pages of turns.
   * @param {string} id
   * @param {string | null} cursor
   * @param {AbortSignal} signal
   */
  async rest(id, cursor, signal) {
    while (cursor) {
      /** @type {import("./api.js").Page<Turn>} */
      const page = await read(`${callPath(id)}/transcriptions`, { order: "time", limit: PAGE, cursor }, signal);
      this.turns?.put(page.data);
      cursor = page.next_cursor;
    }
  }

  /** Reloads the call and its turns, because changes may have been missed. */
  async again() {
    const { id, request } = this;
    if (!id || !request) return;
    try {
      this.changed(await read(callPath(id), {}, request.signal));
      await this.rereadTurns();
    } catch (error) {
      if (error instanceof Failure && error.status === 404 && this.id === id) this.gone();
    }
  }

  /** Loads the tool calls, which ElevenLabs' record has. The call is shown without them if that fails. */
  async readTools() {
    const { id, request } = this;
    // A service that does not give out what is understood of a call has no tool calls either.
    if (!id || !request || !may("read") || this.call?.matched === null || this.call?.child_conversations === undefined) return;
    /** @type {import("./api.js").ToolCall[]} */
    const tools = [];
    let cursor = null;
    do {
      /** @type {import("./api.js").Page<import("./api.js").ToolCall>} */
      const page = await read(`${callPath(id)}/tool_calls`, { limit: PAGE, cursor }, request.signal);
      tools.push(...page.data);
      cursor = page.next_cursor;
    } while (cursor);
    if (this.id !== id) return;
    this.tools = tools;
    this.turns?.putTools(tools);
    this.drawHead();
  }

  async rereadTurns() {
    const { id, request } = this;
    if (!id || !request || !may("read")) return;
    /** @type {Turn[]} */
    const turns = [];
    let cursor = null;
    do {
      /** @type {import("./api.js").Page<Turn>} */
      const page = await read(`${callPath(id)}/transcriptions`, { order: "time", limit: PAGE, cursor }, request.signal);
      turns.push(...page.data);
      cursor = page.next_cursor;
    } while (cursor);
    if (this.id === id) this.turns?.replace(turns);
    await this.readTools().catch(() => {});
  }

  /** Adds a turn if it belongs to this call. @param {Turn} turn */
  heard(turn) {
    if (turn.conversation_id !== this.id) return;
    if (!this.turns || !this.call) {
      this.early.push(turn);
      return;
    }
    this.turns.put([turn]);
    if (turn.sequence_number > this.call.turn_count) {
      this.call = { ...this.call, turn_count: turn.sequence_number };
      this.drawHead();
    }
  }

  /** Scrolls to the newest turn. */
  toEnd() {
    this.turns?.toEnd();
  }

  /** Updates the call. @param {Call} call */
  async changed(call) {
    const before = this.call;
    if (!before || call.conversation_id !== this.id || before.updated_at > call.updated_at) return;
    await learn([call.driver_id]).catch(() => {});
    if (call.conversation_id !== this.id) return;
    // A call from a stream or a list has fewer fields than one that is requested alone.
    const short = call.has_audio === undefined;
    // Turns may have arrived while the driver's name was requested.
    const turns = Math.max(call.turn_count, this.call?.turn_count ?? 0);
    this.call = { ...(short ? before : {}), ...call, turn_count: turns };
    this.drawHead();
    this.turns?.about(this.call);
    // ElevenLabs' record changes turns of an ended call, and the recording arrives with it or later.
    if (short && (call.matched !== null || call.status !== "in_progress")) await this.again();
  }

  /** Shows that the call was erased while it was open. */
  gone() {
    const id = this.id;
    this.close();
    this.absent = id;
    if (id !== null) this.erased(id);
    show(this.pane, nothing("The call was erased", "It was erased while it was open here.",
      el("a", { class: "button", href: addressOf({ call: null, turn: null }) }, "Back to the calls")));
  }

  /** @param {Call} call @param {Turn[]} turns */
  build(call, turns) {
    this.call = call;
    this.head = el("header", { class: "call-head" });
    this.facts = el("aside", { class: "facts", id: "facts", "aria-label": "About this call", tabindex: "0" });
    this.playerPlace = el("div", { class: "player", hidden: true });
    this.turns = new Turns(call, (seconds) => this.player?.seek(seconds));
    this.frame = el("article", { class: "call", "aria-labelledby": "call-name" }, this.head,
      may("read") ? this.turns.element : el("div", { class: "talk" }, nothing("Not shown", "Your role shows which calls there are, but not what was said.")), this.facts, this.playerPlace);
    this.turns.put([...turns, ...this.early]);
    this.early = [];
    this.drawHead();
    show(this.pane, this.frame);
    this.turns.begin();
  }

  /** Returns the badge of an alert, which leads to its turn. @param {Call} call @param {import("./api.js").CallAlert} alert */
  alertLink(call, alert) {
    return el("a", { href: addressOf({ call: call.conversation_id, turn: alert.sequence_number }) }, alertBadges([alert]).map(chip));
  }

  drawHead() {
    const call = this.call;
    if (!call || !this.head || !this.facts || !this.playerPlace) return;
    this.shown(call);
    const live = call.status === "in_progress";
    const toggle = el("button", { type: "button", class: "facts-toggle", "aria-controls": "facts", "aria-expanded": String(this.frame?.classList.contains("open-facts") ?? false),
      onclick: () => toggle.setAttribute("aria-expanded", String(this.frame?.classList.toggle("open-facts"))) }, "About");
    show(this.head,
      el("a", { class: "back button", href: addressOf({ call: null, turn: null }), "aria-label": "Back to the calls" }, "‹"),
      el("div", { class: "title" },
        el("h1", { id: "call-name" }, el("bdi", null, nameOf(call))),
        el("p", { class: "line" }, (call.alerts ?? []).map((alert) => this.alertLink(call, alert)), [...badges(call), ...toolBadges(this.tools)].map(chip), dayAndTime(call.call_start_time),
          !neverBegan(call) && el("span", null, live ? counting(call.call_start_time) : duration(lengthOf(call)), el("span", { class: "unseen" }, " long")),
          el("span", null, count(call.turn_count, "turn"))),
        el("p", { class: "on-paper" }, [absolute(call.call_start_time), driver(call.driver_id)?.phone_number ?? call.external_number,
          STATUS[call.status], call.conversation_id].filter(Boolean).join(" · "))),
      el("div", { class: "actions" }, toggle, live && may("manage") && el("button", { type: "button", onclick: () => endCall(call, (ended) => this.changed(ended)) }, "End call…"),
        actions(call, () => this.turns?.inOrder() ?? [])));
    show(this.facts, callDetails(call));
    if (call.has_audio && may("read") && !this.player) {
      this.player = new Player(call, (seconds) => this.turns?.playing(seconds));
      show(this.playerPlace, this.player.element);
      this.playerPlace.hidden = false;
      this.turns?.playable(true);
    }
  }
}

/** Closes the open call. */
export function leave() {
  if (current().call !== null) go({ call: null, turn: null });
}
