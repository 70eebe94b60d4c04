// The conversation: bubbles by speaker, in the order of the transcript. While the call is running, the newest turn
// stays visible, unless the reader has scrolled up.

import { arrange, el } from "./dom.js";
import { addressOf } from "./route.js";
import { markFound } from "./snippet.js";
import { dayKey, dayName, duration, saidAt, secondsIn, time } from "./time.js";
import { TURN_KIND, alertBadges, chip, count, ending, speakerOf } from "./labels.js";
import { longWait, toolItem, waitItem } from "./tools.js";

/** @typedef {import("./api.js").Turn} Turn */
/** @typedef {import("./api.js").Call} Call */

/** Maximum distance from the end that counts as the end, in pixels. */
const END_DISTANCE_PX = 60;

/** Returns who said a turn. @param {Turn} turn */
function whoOf(turn) {
  return turn.said_by ?? turn.speaker_type;
}

export class Turns {
  /**
   * @param {Call} call
   * @param {(seconds: number) => void} seek
   */
  constructor(call, seek) {
    this.call = call;
    this.seek = seek;
    /** Turns by sequence number. @type {Map<number, Turn>} */
    this.turns = new Map();
    /** @type {Map<number, { node: HTMLElement, shown: string }>} */
    this.nodes = new Map();
    /** @type {Map<string, HTMLElement>} */
    this.days = new Map();
    /** Tool calls, in order. @type {import("./api.js").ToolCall[]} */
    this.tools = [];
    /** Items of tool calls and waits. @type {Map<string, { node: HTMLElement, shown: string }>} */
    this.between = new Map();
    this.hasAudio = false;
    this.hasLive = false;
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
    // Bubbles get their real height only when they become visible.
    this.sizes = new ResizeObserver(() => this.begun && this.following && this.bottom());
    this.sizes.observe(this.list);
  }

  close() {
    this.sizes.disconnect();
    cancelAnimationFrame(this.drawing);
  }

  /** Draws for the first time: a running call from its end, an ended one from its beginning. */
  begin() {
    this.draw();
    this.begun = true;
    if (this.following) this.bottom();
    this.scroller.setAttribute("aria-live", this.call.status === "in_progress" ? "polite" : "off");
  }

  /** Updates the call. @param {Call} call */
  about(call) {
    this.call = call;
    this.scroller.setAttribute("aria-live", call.status === "in_progress" ? "polite" : "off");
    this.drawSoon();
  }

  /** Adds or updates turns. @param {Turn[]} turns */
  put(turns) {
    for (const turn of turns) {
      if (this.begun && !this.following && !this.turns.has(turn.sequence_number) && turn.superseded_by === null) this.unread += 1;
      this.turns.set(turn.sequence_number, turn);
    }
    this.drawSoon();
  }

  /** Replaces all turns of the call. @param {Turn[]} turns */
  replace(turns) {
    const there = new Set(turns.map((turn) => turn.sequence_number));
    for (const number of this.turns.keys()) if (!there.has(number)) this.turns.delete(number);
    this.put(turns);
  }

  /** Shows these tool calls between the turns. @param {import("./api.js").ToolCall[]} tools */
  putTools(tools) {
    this.tools = tools;
    this.drawSoon();
  }

  /** Returns the turns in the order of the transcript, without superseded ones. */
  inOrder() {
    const order = (/** @type {Turn} */ a, /** @type {Turn} */ b) =>
      (a.position ?? Infinity) - (b.position ?? Infinity) || (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : a.sequence_number - b.sequence_number);
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
    const turns = this.inOrder();
    this.hasLive = turns.some((turn) => turn.source !== "post_call");
    const tools = Map.groupBy(this.tools, (tool) => tool.after_place);
    const alerts = Map.groupBy(this.call.alerts ?? [], (alert) => alert.sequence_number);
    const first = turns.length > 0 ? new Date(saidAt(turns[0])) : null;
    if (first && tools.has(0)) nodes.push(this.day(`${day = dayKey(first)} ${breaks++}`, first));
    nodes.push(...this.toolNodes(tools.get(0)));
    tools.delete(0);
    for (const [n, turn] of turns.entries()) {
      const said = new Date(saidAt(turn));
      const key = dayKey(said);
      if (key !== day) {
        day = key;
        before = null;
        // In the record's order, a day may occur more than once.
        nodes.push(this.day(`${key} ${breaks++}`, said));
      }
      const wait = longWait(turn);
      if (wait) nodes.push(this.item(`wait ${turn.sequence_number}`, wait, waitItem));
      nodes.push(this.node(turn, n + 1, !wait && before !== null && whoOf(before) === whoOf(turn), alerts.get(turn.sequence_number)));
      before = turn;
      const after = turn.position === null ? undefined : tools.get(turn.position);
      if (after && turn.position !== null) {
        nodes.push(...this.toolNodes(after));
        tools.delete(turn.position);
        before = null;
      }
    }
    // Tool calls after a turn that is not shown.
    for (const rest of tools.values()) nodes.push(...this.toolNodes(rest));
    for (const number of this.nodes.keys()) if (!this.turns.has(number)) this.nodes.delete(number);
    this.sayEnd(turns.length);
    arrange(this.list, [...nodes, this.end]);
    if (this.following) this.bottom();
    this.sayNewer();
    if (this.query) this.mark(this.query);
  }

  /** @param {import("./api.js").ToolCall[]} [tools] */
  toolNodes(tools = []) {
    return tools.map((tool) => this.item(`tool ${tool.position}`, tool, toolItem));
  }

  /**
   * Returns the item of something between the turns. It stays as it is, open or closed, until its content changes.
   * @template T
   * @param {string} key
   * @param {T} of
   * @param {(of: T) => HTMLElement} make
   */
  item(key, of, make) {
    const shown = JSON.stringify(of);
    const known = this.between.get(key);
    if (known?.shown === shown) return known.node;
    const node = make(of);
    this.between.set(key, { node, shown });
    return node;
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

  /** Shows the state of the call below the last turn. @param {number} shown */
  sayEnd(shown) {
    const live = this.call.status === "in_progress";
    const text = live
      ? (shown === 0 ? "The call has begun; its first words will appear here." : "The call is running. New turns appear here.")
      : shown === 0 && this.call.status === "completed" ? "No turns of this call were received." : ending(this.call);
    if (this.end.textContent === text) return;
    this.end.className = live ? "typing" : "ended";
    this.end.replaceChildren(...(live ? [el("span", { class: "dot" })] : []), text);
  }

  /**
   * Returns the bubble of a turn, redrawn only if it looks different.
   * @param {Turn} turn
   * @param {number} number number in the transcript
   * @param {boolean} same same speaker
   * @param {import("./api.js").CallAlert[]} [alerts]
   */
  node(turn, number, same, alerts = []) {
    const shown = JSON.stringify([turn, number, same, alerts, this.hasAudio, this.hasLive, speakerOf(turn, this.call)]);
    const known = this.nodes.get(turn.sequence_number);
    if (known?.shown === shown) return known.node;
    const text = turn.final_text ?? turn.message_text;
    const corrected = turn.final_text !== null && turn.final_text.trim() !== turn.message_text.trim();
    // Without any live turn, all are from the record, which the details say once.
    const added = turn.source === "post_call" && this.hasLive && (turn.kind ?? "speech") === "speech";
    const [kind, explained] = TURN_KIND[turn.kind ?? ""] ?? [];
    const faint = kind !== undefined && turn.kind !== "text";
    const who = whoOf(turn);
    const node = el("li", { id: `turn-${turn.sequence_number}`, tabindex: "-1",
      class: ["turn", who === "nobody" ? "nobody" : turn.speaker_type, same && "same", faint && "faint", added && "added", turn.interrupted && "interrupted", alerts.length > 0 && "alerted"].filter(Boolean).join(" ") },
    el("div", { class: "meta" },
      el("span", { class: "who" }, speakerOf(turn, this.call)),
      this.when(turn),
      alertBadges(alerts).map(chip),
      kind && el("span", { class: "kind", title: explained }, kind),
      turn.in_record === false && el("span", { class: "note", title: "Received during the call, but not in ElevenLabs’ record" }, "only live"),
      added && el("span", { class: "note", title: "From ElevenLabs’ record; not received during the call" }, "added after the call"),
      corrected && el("span", { class: "note", title: "ElevenLabs’ record has different text" }, "corrected"),
      turn.interrupted && el("span", { class: "note" }, "interrupted"),
      el("a", { class: "number", href: addressOf({ call: turn.conversation_id, turn: turn.sequence_number }), "aria-label": `Link to turn ${number}` }, `#${number}`)),
    el("div", { class: "bubble" },
      el("p", { class: "words", dir: "auto" }, text),
      corrected && el("details", null, el("summary", null, "As received"), el("p", { class: "as-heard", dir: "auto" }, turn.message_text))));
    if (known?.node.classList.contains("pointed")) node.classList.add("pointed");
    known?.node.replaceWith(node);
    this.nodes.set(turn.sequence_number, { node, shown });
    return node;
  }

  /** Returns the time of a turn; with a recording, a button that plays from there. @param {Turn} turn */
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

  /** Marks the turn at the playback position. @param {number | null} seconds since the call's start */
  playing(seconds) {
    const heard = seconds === null ? undefined : this.inOrder().findLast((turn) => secondsIn(this.call, turn) <= seconds + 0.05);
    for (const [number, { node }] of this.nodes) node.classList.toggle("playing", number === heard?.sequence_number);
  }

  /** Scrolls to a turn and marks it. @param {number} number */
  point(number) {
    this.draw();
    // A superseded turn is not shown, so the turn that replaces it is marked.
    const shown = this.turns.get(number)?.superseded_by ?? number;
    const node = this.nodes.get(shown)?.node;
    for (const other of this.list.querySelectorAll(".pointed")) other.classList.remove("pointed");
    if (!node) return;
    this.following = false;
    node.classList.add("pointed");
    node.scrollIntoView({ block: "center" });
    // Scrolls again after the bubbles in between have their real height.
    requestAnimationFrame(() => node.scrollIntoView({ block: "center" }));
    node.focus({ preventScroll: true });
  }

  /** Highlights the words of a query. @param {string} query */
  mark(query) {
    this.query = query;
    markFound(this.list.querySelectorAll(".words"), query);
  }

  scrolled() {
    if (!this.begun) return;
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.following = this.call.status === "in_progress" && scrollHeight - scrollTop - clientHeight < END_DISTANCE_PX;
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
