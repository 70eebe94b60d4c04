// Sign-in with the API token, which is exchanged for a cookie that scripts cannot read.

import { Failure, send } from "./api.js";
import { el, show } from "./dom.js";
import { BASE } from "./route.js";
import { explain } from "./states.js";

const SESSION = `${BASE}session`;

/** Why a token of the role `ingest` is refused. */
export const READS_NOTHING = "This token only stores turns; it reads nothing.";

/**
 * @typedef {object} Session
 * @property {boolean} allowed
 * @property {boolean} sign_in
 * @property {string | null} expires_at
 * @property {"ingest" | "list" | "read" | "manage" | null} [role]
 * @property {string | null} [user] name of the token or user
 */

/** @returns {Promise<Session>} permissions of the reader */
export function session() {
  return send(SESSION);
}

/** Ends the session. */
export function signOut() {
  return send(SESSION, { method: "DELETE" });
}

/** Starts a session. @param {string} token */
export function signInWith(token) {
  return send(SESSION, { method: "POST", quiet: true, headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) });
}

/**
  * Shows the sign-in form, with a reason if a session has ended or the token in the URL was refused.
 * @param {HTMLElement} pane
 * @param {{ ended: boolean, refused: string }} why
  * @param {() => void} then called after sign-in
 */
export function signIn(pane, { ended, refused }, then) {
  const wrong = el("p", { class: "wrong", role: "alert" }, refused);
  const button = el("button", { class: "primary" }, "Sign in");
  const token = el("input", { type: "password", name: "token", autocomplete: "current-password", required: true, spellcheck: "false", autocapitalize: "off" });
  const form = el("form", { class: "sign-in", "aria-labelledby": "sign-in-title", onsubmit: submit },
    el("h1", { id: "sign-in-title" }, "Sign in to read calls"),
    ended && el("p", { class: "soft" }, "Your session has ended. After you sign in, you continue where you were."),
    el("label", null, el("span", null, "API token"), token),
    wrong, button,
    el("p", { class: "soft" }, "On the service’s machine, ", el("code", null, "transcribe-hook token"),
      " prints it; it is in the file beside the database with the extension ", el("code", null, ".token"),
      ". If the service was started with --api-token, use one of those tokens."));

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    wrong.textContent = "";
    try {
      await signInWith(token.value.trim());
      then();
    } catch (error) {
      const refused = error instanceof Failure && (error.status === 401 || error.status === 400);
      const noReader = error instanceof Failure && error.status === 403;
      wrong.textContent = refused ? "Invalid API token." : noReader ? READS_NOTHING : explain(error).text;
      token.select();
      token.focus();
    } finally {
      button.disabled = false;
    }
  }
  show(pane, form);
  token.focus();
}
