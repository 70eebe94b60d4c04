// Follows changes with the API's event streams. A stream that ends is reopened with backoff, and at once when the
// network or the reader returns. Each follower reloads its data when its stream opens, so no change is missed;
// duplicates are harmless.
//
// A browser opens about six connections to a service, shared by all tabs, so hidden tabs close their streams.

const MIN_RETRY_DELAY_MS = 500;
const MAX_RETRY_DELAY_MS = 15_000;

/** @typedef {"transcription" | "call_started" | "call_updated" | "call_ended" | "call_alert" | "call_erased"} EventName */

/** @type {readonly EventName[]} */
const NAMES = ["transcription", "call_started", "call_updated", "call_ended", "call_alert", "call_erased"];

/**
 * @typedef {object} Follower
 * @property {(again: boolean) => void} opened called when the stream opens; `again` is false the first time
 * @property {(name: EventName, resource: any) => void} event
 * @property {() => void} [failed] called when the stream cannot be opened or ends
 */

/** Streams to keep open. @type {Set<Stream>} */
const streams = new Set();

class Stream {
  /** @param {string} path @param {Follower} follower */
  constructor(path, follower) {
    this.path = path;
    this.follower = follower;
    this.wait = MIN_RETRY_DELAY_MS;
    this.openings = 0;
    /** @type {"waiting" | "live" | "lost"} */
    this.state = "waiting";
    /** @type {EventSource | null} */
    this.source = null;
    /** @type {number | undefined} */
    this.timer = undefined;
  }

  open() {
    if (this.source || document.hidden) return;
    clearTimeout(this.timer);
    const source = new EventSource(this.path);
    this.source = source;
    source.addEventListener("open", () => {
      this.wait = MIN_RETRY_DELAY_MS;
      this.become("live");
      this.follower.opened(this.openings++ > 0);
    });
    source.addEventListener("error", () => {
      this.drop();
      this.become("lost");
      this.follower.failed?.();
      // With jitter, because many pages may wait for a service to return.
      this.timer = setTimeout(() => this.open(), this.wait * (0.75 + Math.random() / 2));
      this.wait = Math.min(this.wait * 2, MAX_RETRY_DELAY_MS);
    });
    for (const name of NAMES) {
      source.addEventListener(name, (event) => this.follower.event(name, JSON.parse(event.data)));
    }
  }

  drop() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  /** @param {"waiting" | "live" | "lost"} state */
  become(state) {
    this.state = state;
    tell();
  }
}

/**
 * Follows a stream, until the returned function is called.
 * @param {string} path
 * @param {Follower} follower
 */
export function follow(path, follower) {
  const stream = new Stream(path, follower);
  streams.add(stream);
  stream.open();
  return () => {
    streams.delete(stream);
    stream.drop();
    tell();
  };
}

/** Reopens lost streams at once. */
export function tryNow() {
  for (const stream of streams) {
    stream.wait = MIN_RETRY_DELAY_MS;
    stream.open();
  }
}

/** @type {(state: "waiting" | "live" | "lost" | "none") => void} */
let listener = () => {};

/** Called when the state of the connection changes. @param {typeof listener} then */
export function onConnection(then) {
  listener = then;
}

function tell() {
  const states = [...streams].map((stream) => stream.state);
  if (states.length === 0) listener("none");
  else if (states.includes("lost")) listener("lost");
  else listener(states.includes("waiting") ? "waiting" : "live");
}

/** Time after which a hidden tab closes its streams, in milliseconds. */
const HIDDEN_TIMEOUT_MS = 5_000;

/** @type {number | undefined} */
let hiding;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => streams.forEach((stream) => stream.drop()), HIDDEN_TIMEOUT_MS);
  else tryNow();
});
// A page in the browser's back/forward cache must not keep a connection that the next page needs.
addEventListener("pagehide", () => streams.forEach((stream) => stream.drop()));
addEventListener("pageshow", tryNow);
addEventListener("online", tryNow);
