// The page's entry point: sign-in, routing, the choice of views, and keyboard shortcuts.
//
// The URL determines what is shown (route.js). The list (list.js) or the search results (search_results.js) are on one
// side, a call (call.js) on the other. One event stream (live.js) updates both. All data comes from the public API.

import { learnAlerts, readAlerts } from "./alerts.js";
import { Failure, address, onUnauthorized } from "./api.js";
import { CallView, leave } from "./call.js";
import { announce, byId, el, isTyping, show } from "./dom.js";
import { nameOf } from "./drivers.js";
import { filters } from "./filters.js";
import { SearchResults } from "./search_results.js";
import { help } from "./help.js";
import { CallList } from "./list.js";
import { follow, onConnection, tryNow } from "./live.js";
import { may, setRole } from "./rights.js";
import { current, followLinks, go, onRoute } from "./route.js";
import { READS_NOTHING, session, signIn, signInWith, signOut } from "./signin.js";
import { failed, nothing } from "./states.js";
import { statistics } from "./stats.js";
import { welcome } from "./welcome.js";

const panes = byId("panes");
const listPane = byId("list-pane");
const main = byId("main");

const narrow = filters();
const listed = el("div", { class: "scroll" });
const searched = el("div", { class: "scroll", hidden: true });
show(listPane, el("h1", { class: "unseen" }, "Calls"), narrow.element, listed, searched);

/** True if the service has no call yet, as far as the page knows. */
let firstRun = false;
/** True if the reader is signed in, or needs no sign-in. */
let allowed = false;

const list = new CallList(listed, {
  whenEmpty: () => {
    if (firstRun) return;
    firstRun = true;
    render();
  },
  whenSome: () => {
    if (!firstRun) return;
    firstRun = false;
    const [first] = list.calls.keys();
    if (first && current().call === null) go({ call: first }, { replace: true });
    else render();
  },
});
const found = new SearchResults(searched);
const call = new CallView(main, (id) => list.remove(id), (shown) => list.pin(shown));

/** Shows the view in the URL. */
function render() {
  if (!allowed) return;
  const route = current();
  // The access log is part of the set-up.
  const place = route.view === "accesses" ? "setup" : route.view;
  for (const view of ["calls", "stats", "setup"]) {
    if (view === place) byId(`to-${view}`).setAttribute("aria-current", "page");
    else byId(`to-${view}`).removeAttribute("aria-current");
  }
  if (route.view !== "calls") {
    call.close();
    panes.dataset.view = "page";
    document.title = `${{ stats: "Statistics", setup: "Set-up", accesses: "Access log" }[route.view]} · transcribe-hook`;
    if (route.view === "stats") statistics(main);
    else if (may("manage")) manage(route.view);
    else show(main, nothing("No access", "The set-up is shown to those who manage the service."));
    return;
  }
  narrow.sync();
  const searching = route.q !== "";
  listed.hidden = searching;
  searched.hidden = !searching;
  if (searching) found.load();
  else list.load();
  const welcoming = firstRun && route.call === null && !searching && may("manage");
  panes.dataset.view = welcoming ? "page" : route.call === null ? "list" : "call";
  if (route.call !== null) {
    call.open();
    list.select();
    found.select();
    // On a narrow screen the call replaces the list, so it gets the focus.
    if (listPane.offsetParent === null && !main.contains(document.activeElement)) main.focus();
    return;
  }
  call.close();
  list.select();
  found.select();
  if (welcoming) welcome(main);
  else if (firstRun && !searching) show(main, nothing("No calls yet", "The first turn that arrives creates the first call, which appears here at once."));
  else show(main, nothing("No call is open", "Choose one in the list, or press / to search by name, number, call id or words."));
}

/** Shows a page of those who manage the service. Its module is loaded with the first visit. @param {"setup" | "accesses"} view */
async function manage(view) {
  try {
    const shown = view === "setup" ? (await import("./setup.js")).setup : (await import("./accesses.js")).accessLog;
    if (allowed && current().view === view) shown(main);
  } catch {
    show(main, failed(new Failure(0, "The service cannot be reached.", null, null), render));
  }
}

/**
 * Starts the page for a reader with access, or shows the sign-in form.
 * @param {boolean} ended true if a session has just ended
 */
async function enter(ended) {
  allowed = false;
  stop();
  call.close();
  panes.dataset.view = "page";
  let known;
  let refused = "";
  try {
    const token = /** @type {any} */ (window).takeToken();
    if (token) refused = await whyRefused(token);
    known = await session();
  } catch (error) {
    show(main, failed(error, () => enter(ended)));
    return;
  }
  byId("sign-out").hidden = known.expires_at === null;
  const who = byId("who");
  who.textContent = known.user ?? "";
  who.hidden = !known.user;
  who.title = known.user ? `Signed in as ${known.user}, role ${known.role}` : "";
  setRole(known.role, known.sign_in);
  byId("to-setup").hidden = known.allowed && !may("manage");
  if (!known.allowed) {
    signIn(main, { ended, refused }, () => enter(false));
    return;
  }
  allowed = true;
  begin();
}

/** Signs in with the token from the URL. @param {string} token @returns {Promise<string>} the reason of a refusal, or "" */
async function whyRefused(token) {
  try {
    await signInWith(token);
    return "";
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.status === 403) return READS_NOTHING;
    if ([400, 401, 413].includes(error.status)) return "The token in this link is invalid or no longer valid.";
    throw error;
  }
}

let stop = () => {};

/** Interval at which the list and the open call are read again where no stream may be opened, in milliseconds. */
const REREAD_INTERVAL_MS = 10_000;

/** Reads the list and the open call again, because the stream has words that the reader may not read. */
function reread() {
  if (document.hidden) return;
  if (current().view === "calls" && current().q === "") list.load(true);
  call.again();
}

/** Opens the event stream, and shows the view in the URL once no change can be missed. */
function begin() {
  panes.dataset.view = current().call === null ? "list" : "call";
  let shown = false;
  const showOnce = () => {
    if (shown) return false;
    shown = true;
    list.forget();
    render();
    return true;
  };
  if (!may("read")) {
    stop();
    const interval = setInterval(reread, REREAD_INTERVAL_MS);
    stop = () => clearInterval(interval);
    showOnce();
    return;
  }
  readAlerts().then((found) => found && narrow.sync(), () => {});
  // The page does not wait longer, because a proxy may buffer the stream.
  const timeout = setTimeout(showOnce, 1000);
  stop();
  const unfollow = follow(address("/events", { include_children: "true" }), {
    opened: () => {
      if (showOnce()) return;
      if (current().view === "calls" && current().q === "") list.load(true);
      call.again();
    },
    event: (name, resource) => {
      if (name === "transcription") {
        list.heard(resource);
        call.heard(resource);
      } else if (name === "call_erased") {
        list.removeRow(resource.id);
        if (call.call?.id === resource.id) call.gone();
      } else {
        if (learnAlerts([resource])) narrow.sync();
        list.put(resource);
        call.changed(resource);
        if (name === "call_alert") announce(`Alert in the call with ${nameOf(resource)}: ${resource.alerts.map((/** @type {{ name: string }} */ alert) => alert.name).join(", ")}`);
      }
    },
    failed: () => {
      if (!showOnce()) checkAccess();
    },
  });
  stop = () => {
    clearTimeout(timeout);
    unfollow();
  };
}

/** Checks whether the session has ended, because a stream that ends does not tell. */
async function checkAccess() {
  const known = await session().catch(() => null);
  if (known && !known.allowed && allowed) enter(true);
}

onUnauthorized(() => allowed && enter(true));
addEventListener("token", () => enter(false));
onRoute(render);
followLinks();

/** @type {number | undefined} */
let losing;
onConnection((state) => {
  const connection = byId("connection");
  const words = { live: "Connected", lost: "Reconnecting…", waiting: "", none: "" };
  connection.dataset.state = state;
  if (connection.textContent !== words[state]) connection.textContent = words[state];
  clearTimeout(losing);
  const notice = byId("notice");
  if (state !== "lost") {
    notice.hidden = true;
    return;
  }
  // A restart of the service is faster than this and needs no notice.
  losing = setTimeout(() => {
    show(notice, el("span", null, navigator.onLine
      ? "The service cannot be reached. The page may be out of date; it reconnects automatically."
      : "This computer is offline. The page may be out of date; it reconnects automatically."),
    el("button", { type: "button", onclick: tryNow }, "Try now"));
    notice.hidden = false;
  }, 2500);
});

/** @param {"light" | "dark" | null} [theme] */
function nameTheme(theme = /** @type {any} */ (document.documentElement.dataset.theme) ?? null) {
  const button = byId("theme");
  button.textContent = theme === "dark" ? "☾" : theme === "light" ? "☀" : "◐";
  button.title = `Colours: ${theme ?? "same as the system"}`;
  button.setAttribute("aria-label", button.title);
}
nameTheme();
byId("theme").addEventListener("click", () => nameTheme(/** @type {any} */ (window).nextTheme()));
byId("help").addEventListener("click", help);
byId("sign-out").addEventListener("click", async () => {
  await signOut().catch(() => {});
  enter(false);
});

/** Moves the focus in the list. @param {number} step */
function step(step) {
  const links = [...(searched.hidden ? listed : searched).querySelectorAll(".row a")];
  if (links.length === 0) return;
  const at = links.indexOf(/** @type {Element} */ (document.activeElement));
  const open = links.findIndex((link) => link.hasAttribute("aria-current"));
  const from = at >= 0 ? at : open;
  const link = /** @type {HTMLElement} */ (links[Math.max(0, Math.min(links.length - 1, from + step))] ?? links[0]);
  link.focus();
  link.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !allowed || document.querySelector("dialog[open]")) return;
  const typing = isTyping(event.target);
  const inList = event.target instanceof Element && event.target.closest(".scroll") !== null;
  if (event.key === "Escape") {
    if (typing) /** @type {HTMLElement} */ (event.target).blur();
    else if (current().call !== null) {
      const row = (searched.hidden ? listed : searched).querySelector("a[aria-current]");
      leave();
      /** @type {HTMLElement | null} */ (row)?.focus();
    }
    return;
  }
  if (event.key === "ArrowDown" && /** @type {Element} */ (event.target).id === "search") step(1);
  else if (inList && (event.key === "ArrowDown" || event.key === "ArrowUp")) step(event.key === "ArrowDown" ? 1 : -1);
  else if (typing) return;
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "n") call.toEnd();
  else if (event.key === "?") help();
  else if (event.key === "/") {
    if (current().view !== "calls" || listPane.offsetParent === null) go({ view: "calls", call: null, turn: null });
    narrow.focus();
  } else return;
  event.preventDefault();
});

enter(false);
