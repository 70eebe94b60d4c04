// What the reader may do, by the role in the session. The service checks it too; the page hides what it would refuse.

/** Roles in ascending order; each may do what the ones before it may. */
const ROLES = ["ingest", "list", "read", "manage"];

/** @type {string} */
let role = "manage";

/** Sets the reader's role. A service without roles lets everybody do everything. @param {string | null | undefined} name */
export function setRole(name) {
  role = name ?? "manage";
}

/** Returns true if the reader's role is this one or a higher one. @param {"list" | "read" | "manage"} least */
export function may(least) {
  return ROLES.indexOf(role) >= ROLES.indexOf(least);
}
