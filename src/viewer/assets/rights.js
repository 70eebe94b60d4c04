// What the reader may do, by the role in the session. The service checks it too; the page hides what it would refuse.

/** Roles in ascending order; each may do what the ones before it may. */
const ROLES = ["ingest", "list", "read", "manage"];

/** @type {string} */
let role = "manage";

/** True if readers sign in, so that the service may log who read which call. */
let isLogged = false;

/**
 * Sets the reader's role, and whether readers sign in. A service without roles lets everybody do everything.
 * @param {string | null | undefined} name
 * @param {boolean} signsIn
 */
export function setRole(name, signsIn) {
  role = name ?? "manage";
  isLogged = signsIn;
}

/** Returns true if the reader may see who read calls. */
export function mayReadLog() {
  return isLogged && may("manage");
}

/** Returns true if the reader's role is this one or a higher one. @param {"list" | "read" | "manage"} least */
export function may(least) {
  return ROLES.indexOf(role) >= ROLES.indexOf(least);
}
