// Removes a token from the page's URL (`/#token=…`, as `serve` prints it) before anything else is loaded, so this is
// not a module. The token is held in memory until main.js signs in with it, and is never stored.

(() => {
  /** @type {string | null} */
  let token = null;

  function take() {
    const given = /^#token=(.+)$/.exec(location.hash)?.[1];
    if (!given) return false;
    history.replaceState(history.state, "", location.pathname + location.search);
    try {
      token = decodeURIComponent(given);
    } catch {
      token = given; // sign-in will reject it
    }
    return true;
  }

  take();
  // If the page is already open, opening such a URL only changes the fragment.
  addEventListener("hashchange", () => take() && dispatchEvent(new Event("token")));

  /** @returns {string | null} the token, on the first call only */
  function takeToken() {
    const taken = token;
    token = null;
    return taken;
  }
  Object.assign(window, { takeToken });
})();
