// Signing in with the API token, which becomes a cookie that no script can read; and what to say where that cannot be done.

import { Failure, send } from "./api.js";
import { el, show } from "./dom.js";
import { explain } from "./states.js";

/** @typedef {{ allowed: boolean, sign_in: boolean, expires_at: string | null }} Session */

/** @returns {Promise<Session>} what whoever asks may do */
export function session() {
  return send("/session");
}

/** Ends the session. */
export function signOut() {
  return send("/session", { method: "DELETE" });
}

/**
 * The form. The reader is told why it is here when a session has ended.
 * @param {HTMLElement} pane
 * @param {boolean} ended
 * @param {() => void} then once signed in
 */
export function signIn(pane, ended, then) {
  const wrong = el("p", { class: "wrong", role: "alert" });
  const button = el("button", { class: "primary" }, "Sign in");
  const token = el("input", { type: "password", name: "token", autocomplete: "current-password", required: true, spellcheck: "false", autocapitalize: "off" });
  const form = el("form", { class: "sign-in", "aria-labelledby": "sign-in-title", onsubmit: submit },
    el("h1", { id: "sign-in-title" }, "Sign in to read calls"),
    ended && el("p", { class: "soft" }, "Your session has ended. Nothing is lost: you go on where you were."),
    el("label", null, el("span", null, "API token"), token),
    wrong, button,
    el("p", { class: "soft" }, "It is one of those that the service was started with (--api-token). Ask whoever runs it."));

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    wrong.textContent = "";
    try {
      await send("/session", {
        method: "POST", quiet: true, headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token: token.value.trim() }),
      });
      then();
    } catch (error) {
      const refused = error instanceof Failure && (error.status === 401 || error.status === 400);
      wrong.textContent = refused ? "This is not the API token." : explain(error).text;
      token.select();
      token.focus();
    } finally {
      button.disabled = false;
    }
  }
  show(pane, form);
  token.focus();
}

/** What to say to whom the service does not let in at all. @param {HTMLElement} pane */
export function notAllowed(pane) {
  show(pane, el("div", { class: "state" },
    el("h1", null, "Calls are shown on the service’s own machine only"),
    el("p", null, "No API token is configured, so the service answers nobody else. To read from here, whoever runs it starts it with a token, which then also signs in on this page:"),
    el("p", null, el("code", null, "transcribe-hook serve --api-token-file token.txt")),
    el("div", { class: "buttons" }, el("button", { type: "button", onclick: () => location.reload() }, "Try again"))));
}
