// Times and durations, formatted for the reader's locale and time zone; UTC is shown on hover.

import { el } from "./dom.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayThisYear = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const dayOtherYear = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", year: "numeric" });
const dateAndTime = new Intl.DateTimeFormat(undefined, {
  weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** The reader's time zone, as an IANA name. */
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/**
  * Returns a time element.
 * @param {string} instant RFC 3339
 * @param {"clock" | "seconds" | "full"} form
 */
export function time(instant, form) {
  const formats = { clock, seconds: clockSeconds, full: dateAndTime };
  return el("time", { datetime: instant, title: utc(instant) }, formats[form].format(new Date(instant)));
}

/** `2026-09-28 12:00:05.25 UTC` @param {string} instant */
export function utc(instant) {
  return `${instant.replace("T", " ").replace(/(\.\d*?)0*Z$/, "$1").replace(/[.Z]$/, "")} UTC`;
}

/** Returns a time for copying and printing. @param {string} instant */
export function plainTime(instant) {
  return dateAndTime.format(new Date(instant));
}

/** Returns the key of a day in the reader's time zone: `2026-09-28`. @param {Date} date */
export function dayKey(date) {
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** `Today`, `Yesterday`, `Mon 28 Sep` @param {Date} date */
export function dayName(date) {
  const now = new Date();
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (dayKey(date) === dayKey(now)) return "Today";
  if (dayKey(date) === dayKey(yesterday)) return "Yesterday";
  return (date.getFullYear() === now.getFullYear() ? dayThisYear : dayOtherYear).format(date);
}

const shortDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** `28 Sep` of `2026-09-28` @param {string} key */
export function shortDay(key) {
  return shortDate.format(new Date(`${key}T12:00:00`));
}

/** `Today, 09:02:15` @param {string} instant */
export function dayAndTime(instant) {
  const date = new Date(instant);
  return el("time", { datetime: instant, title: utc(instant) }, `${dayName(date)}, ${clockSeconds.format(date)}`);
}

/**
 * Returns the start of a day in the reader's time zone, `daysOn` days later.
 * @param {string} key
 * @param {number} [daysOn]
 */
export function startOfDay(key, daysOn = 0) {
  const [year, month, day] = key.split("-").map(Number);
  const date = new Date(year, month - 1, day + daysOn);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** `0:07`, `12:40`, `1:02:09` @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** Returns the duration of a call so far, in seconds. @param {import("./api.js").Call} call */
export function lengthOf(call) {
  if (call.duration_seconds !== null) return call.duration_seconds;
  const end = call.status === "in_progress" ? Date.now() : Date.parse(call.call_end_time ?? call.last_turn_time ?? call.call_start_time);
  return Math.max(0, (end - Date.parse(call.call_start_time)) / 1000);
}

/**
 * Returns the time of a turn: from the record if it has one, else from the sender.
 * @param {import("./api.js").Turn} turn
 */
export const saidAt = (turn) => turn.record_time ?? turn.timestamp;

/**
  * Returns the offset of a turn from the start of its call, in seconds, within the bounds of the call. Without a
  * record, implausible times of a call are replaced by the times of arrival.
 * @param {import("./api.js").Call} call @param {import("./api.js").Turn} turn
 */
export function secondsIn(call, turn) {
  const after = (/** @type {string} */ instant, /** @type {string} */ start) => Math.max(0, (Date.parse(instant) - Date.parse(start)) / 1000);
  if (turn.in_record === null && call.matched === null && call.first_turn_time && call.last_turn_time
    && after(call.last_turn_time, call.first_turn_time) > 24 * 3600) return after(turn.created_at, call.created_at);
  const said = after(saidAt(turn), call.call_start_time);
  return call.status === "in_progress" || !call.call_end_time ? said : Math.min(said, after(call.call_end_time, call.call_start_time));
}

/** Returns a long time in words: `12 min`, `3 h`, `2 days`. @param {number} seconds */
export function roughly(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} days`;
}

const paper = new Intl.DateTimeFormat(undefined, {
  weekday: "long", day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});

/** Returns a time with date and zone, for paper. @param {string} instant */
export function absolute(instant) {
  return `${paper.format(new Date(instant))} (${zone})`;
}

/** Elements that show the duration of a running call, with its start. @type {Map<Element, number>} */
const running = new Map();

/**
  * Returns text that counts up while it is on the page.
 * @param {string} start
 */
export function counting(start) {
  const element = el("span", { class: "counting" });
  const since = Date.parse(start);
  running.set(element, since);
  element.textContent = duration((Date.now() - since) / 1000);
  return element;
}

setInterval(() => {
  for (const [element, since] of running) {
    if (element.isConnected) element.textContent = duration((Date.now() - since) / 1000);
    else running.delete(element);
  }
}, 1000);
