// Follows what is committed, over the API's event streams, and keeps doing so: a stream that ends is opened again, later
// each time, and at once when the network or the reader comes back. Whoever follows reads its things again on each opening,
// so that nothing is missed; what comes twice is the same thing twice and does no harm.
//
// A browser gives a service some six connections, shared by all its tabs, so a tab that nobody looks at holds none.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

/** @typedef {"transcription" | "call_started" | "call_updated" | "call_ended" | "call_erased"} EventName */

/** @type {readonly EventName[]} */
const NAMES = ["transcription", "call_started", "call_updated", "call_ended", "call_erased"];

/**
 * @typedef {object} Follower
 * @property {(again: boolean) => void} opened the stream is open, for the first time or again
 * @property {(name: EventName, resource: any) => void} event
 * @property {() => void} [failed] it could not be opened or has ended
 */

/** Streams that are wanted. @type {Set<Stream>} */
const streams = new Set();

class Stream {
  /** @param {string} path @param {Follower} follower */
  constructor(path, follower) {
    this.path = path;
    this.follower = follower;
    this.wait = FIRST_WAIT;
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
      this.wait = FIRST_WAIT;
      this.become("live");
      this.follower.opened(this.openings++ > 0);
    });
    source.addEventListener("error", () => {
      this.drop();
      this.become("lost");
      this.follower.failed?.();
      // Not all at the same instant, when a service comes back that many have waited for.
      this.timer = setTimeout(() => this.open(), this.wait * (0.75 + Math.random() / 2));
      this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
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
 * Follows a stream until what is returned is called.
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

/** Opens at once what has been lost. */
export function tryNow() {
  for (const stream of streams) {
    stream.wait = FIRST_WAIT;
    stream.open();
  }
}

/** @type {(state: "waiting" | "live" | "lost" | "none") => void} */
let listener = () => {};

/** Called when it changes whether all that is followed is live. @param {typeof listener} then */
export function onConnection(then) {
  listener = then;
}

function tell() {
  const states = [...streams].map((stream) => stream.state);
  if (states.length === 0) listener("none");
  else if (states.includes("lost")) listener("lost");
  else listener(states.includes("waiting") ? "waiting" : "live");
}

/** How long a tab may be out of sight until it lets its streams go, in milliseconds. */
const OUT_OF_SIGHT = 20_000;

/** @type {number | undefined} */
let hiding;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => streams.forEach((stream) => stream.drop()), OUT_OF_SIGHT);
  else tryNow();
});
addEventListener("online", tryNow);
