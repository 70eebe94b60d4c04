// Takes a token out of the page's address (`/#token=…`, as `serve` prints it) before anything else is loaded; hence not a
// module. It is held in memory until main.js signs in with it, and stored nowhere.

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
      token = given; // it will be refused
    }
    return true;
  }

  take();
  // In a page that is open already, opening such an address only changes what stands behind the #.
  addEventListener("hashchange", () => take() && dispatchEvent(new Event("token")));

  /** @returns {string | null} the token, once */
  function takeToken() {
    const taken = token;
    token = null;
    return taken;
  }
  Object.assign(window, { takeToken });
})();
