// The conversation: bubbles by speaker, in the order in which it went, and the newest one in sight while the call runs,
// unless the reader has scrolled up to read.

import { arrange, el } from "./dom.js";
import { addressOf } from "./route.js";
import { markFound } from "./snippet.js";
import { dayKey, dayName, duration, saidAt, secondsIn, time } from "./time.js";
import { SPEAKER, count } from "./words.js";

/** @typedef {import("./api.js").Turn} Turn */
/** @typedef {import("./api.js").Call} Call */

/** How near to the end counts as the end, in pixels. */
const NEAR = 60;

export class Turns {
  /**
   * @param {Call} call
   * @param {(seconds: number) => void} seek
   */
  constructor(call, seek) {
    this.call = call;
    this.seek = seek;
    /** By their sequence number. @type {Map<number, Turn>} */
    this.turns = new Map();
    /** @type {Map<number, { node: HTMLElement, shown: string }>} */
    this.nodes = new Map();
    /** @type {Map<string, HTMLElement>} */
    this.days = new Map();
    this.hasAudio = false;
    this.following = call.status === "in_progress";
    this.unread = 0;
    this.begun = false;
    this.drawing = 0;
    this.query = "";
    this.list = el("ol");
    this.scroller = el("div", { class: "turns", id: "turns", role: "log", "aria-live": "off", "aria-label": "Conversation", tabindex: "0",
      onscroll: () => this.scrolled() }, this.list);
    this.button = el("button", { type: "button", class: "primary", onclick: () => this.toEnd() });
    this.newer = el("div", { class: "newer", hidden: true }, this.button);
    this.element = el("div", { class: "talk" }, this.scroller, this.newer);
    this.end = el("li", { class: "typing" });
    // Bubbles get their true height only when they come into sight.
    this.sizes = new ResizeObserver(() => this.begun && this.following && this.bottom());
    this.sizes.observe(this.list);
  }

  close() {
    this.sizes.disconnect();
    cancelAnimationFrame(this.drawing);
  }

  /** Once on the page: a call that runs is read from its end, another one from its beginning. */
  begin() {
    this.draw();
    this.begun = true;
    if (this.following) this.bottom();
    this.scroller.setAttribute("aria-live", this.call.status === "in_progress" ? "polite" : "off");
  }

  /** Takes in the call as it has become. @param {Call} call */
  about(call) {
    this.call = call;
    this.scroller.setAttribute("aria-live", call.status === "in_progress" ? "polite" : "off");
    this.drawSoon();
  }

  /** Takes in turns, new ones or known ones as they have become. @param {Turn[]} turns */
  put(turns) {
    for (const turn of turns) {
      if (this.begun && !this.following && !this.turns.has(turn.sequence_number) && turn.superseded_by === null) this.unread += 1;
      this.turns.set(turn.sequence_number, turn);
    }
    this.drawSoon();
  }

  /** Takes in all turns of the call. @param {Turn[]} turns */
  replace(turns) {
    const there = new Set(turns.map((turn) => turn.sequence_number));
    for (const number of this.turns.keys()) if (!there.has(number)) this.turns.delete(number);
    this.put(turns);
  }

  /** The turns as the conversation went, without those that another one stands for. */
  inOrder() {
    const order = (/** @type {Turn} */ a, /** @type {Turn} */ b) =>
      (a.place ?? Infinity) - (b.place ?? Infinity) || (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : a.sequence_number - b.sequence_number);
    return [...this.turns.values()].filter((turn) => turn.superseded_by === null).sort(order);
  }

  drawSoon() {
    if (!this.begun || this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.draw();
    });
  }

  draw() {
    const nodes = [];
    let day = "";
    let breaks = 0;
    /** @type {Turn | null} */
    let before = null;
    for (const turn of this.inOrder()) {
      const said = new Date(saidAt(turn));
      const key = dayKey(said);
      if (key !== day) {
        day = key;
        before = null;
        // The record's order may lead to a day more than once.
        nodes.push(this.day(`${key} ${breaks++}`, said));
      }
      nodes.push(this.node(turn, before?.speaker_type === turn.speaker_type));
      before = turn;
    }
    for (const number of this.nodes.keys()) if (!this.turns.has(number)) this.nodes.delete(number);
    this.sayEnd(nodes.length);
    arrange(this.list, [...nodes, this.end]);
    if (this.following) this.bottom();
    this.sayNewer();
    if (this.query) this.mark(this.query);
  }

  /** @param {string} key @param {Date} date */
  day(key, date) {
    let node = this.days.get(key);
    if (!node) {
      node = el("li", { class: "day" }, dayName(date));
      this.days.set(key, node);
    }
    return node;
  }

  /** What stands below the last turn. @param {number} shown */
  sayEnd(shown) {
    const live = this.call.status === "in_progress";
    const text = live
      ? (shown === 0 ? "The call has begun; its first words will show here." : "The call is running. New turns show here.")
      : shown === 0 ? "No word of this call was received." : `The call ${this.call.status === "failed" ? "failed" : "ended"}.`;
    if (this.end.textContent === text) return;
    this.end.className = live ? "typing" : "ended";
    this.end.replaceChildren(...(live ? [el("span", { class: "dot" })] : []), text);
  }

  /** The bubble of a turn, made anew only if it looks different. @param {Turn} turn @param {boolean} same the same one speaks on */
  node(turn, same) {
    const shown = JSON.stringify([turn, same, this.hasAudio]);
    const known = this.nodes.get(turn.sequence_number);
    if (known?.shown === shown) return known.node;
    const text = turn.final_text ?? turn.message_text;
    const corrected = turn.final_text !== null && turn.final_text.trim() !== turn.message_text.trim();
    const added = turn.source === "post_call";
    const node = el("li", { id: `turn-${turn.sequence_number}`, tabindex: "-1",
      class: ["turn", turn.speaker_type, same && "same", added && "added", turn.interrupted && "interrupted"].filter(Boolean).join(" ") },
    el("div", { class: "meta" },
      el("span", { class: "who" }, SPEAKER[turn.speaker_type]),
      this.when(turn),
      turn.in_record === false && el("span", { class: "note", title: "Received during the call; ElevenLabs’ record after it does not have this turn" }, "only heard live"),
      added && el("span", { class: "note", title: "Not received during the call; the platform’s record after it has this turn" }, "added after the call"),
      corrected && el("span", { class: "note", title: "The platform’s record has other words than were heard live" }, "corrected"),
      turn.interrupted && el("span", { class: "note" }, "interrupted"),
      el("a", { class: "number", href: addressOf({ call: turn.conversation_id, turn: turn.sequence_number }), "aria-label": `Link to turn ${turn.sequence_number}` }, `#${turn.sequence_number}`)),
    el("div", { class: "bubble" },
      el("p", { class: "words", dir: "auto" }, text),
      corrected && el("details", null, el("summary", null, "As heard"), el("p", { class: "as-heard", dir: "auto" }, turn.message_text))));
    if (known?.node.classList.contains("pointed")) node.classList.add("pointed");
    known?.node.replaceWith(node);
    this.nodes.set(turn.sequence_number, { node, shown });
    return node;
  }

  /** When it was said; with a recording, a button that plays from there. @param {Turn} turn */
  when(turn) {
    const at = time(saidAt(turn), "seconds");
    if (!this.hasAudio) return at;
    const seconds = secondsIn(this.call, turn);
    const offset = duration(seconds);
    return el("button", { type: "button", class: "at", title: `Play from ${offset}`, onclick: () => this.seek(seconds) }, at, el("span", { class: "unseen" }, `, play from ${offset}`));
  }

  /** @param {boolean} hasAudio */
  playable(hasAudio) {
    this.hasAudio = hasAudio;
    this.drawSoon();
  }

  /** Shows which turn is heard. @param {number | null} seconds since the call's start */
  playing(seconds) {
    const heard = seconds === null ? undefined : this.inOrder().findLast((turn) => secondsIn(this.call, turn) <= seconds + 0.05);
    for (const [number, { node }] of this.nodes) node.classList.toggle("playing", number === heard?.sequence_number);
  }

  /** Brings a turn into sight and marks it. @param {number} number */
  point(number) {
    this.draw();
    // Another turn stands for one that is not shown.
    const shown = this.turns.get(number)?.superseded_by ?? number;
    const node = this.nodes.get(shown)?.node;
    for (const other of this.list.querySelectorAll(".pointed")) other.classList.remove("pointed");
    if (!node) return;
    this.following = false;
    node.classList.add("pointed");
    node.scrollIntoView({ block: "center" });
    // Once more when what lies between has its true height.
    requestAnimationFrame(() => node.scrollIntoView({ block: "center" }));
    node.focus({ preventScroll: true });
  }

  /** Marks the words of a query. @param {string} query */
  mark(query) {
    this.query = query;
    markFound(this.list.querySelectorAll(".words"), query);
  }

  scrolled() {
    if (!this.begun) return;
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.following = this.call.status === "in_progress" && scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.following) this.unread = 0;
    this.sayNewer();
  }

  bottom() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  toEnd() {
    this.following = true;
    this.unread = 0;
    this.bottom();
    this.sayNewer();
    this.scroller.focus({ preventScroll: true });
  }

  sayNewer() {
    this.newer.hidden = this.unread === 0;
    this.button.textContent = `${count(this.unread, "new turn")} ↓`;
  }
}
