// Steps of the first run, of signing in, of what goes wrong, and of how the page looks and what it costs.

import { strict as assert } from "node:assert";
import { accessible, fits, see, until } from "./look.mjs";

export const steps = {
  /** What the first-run page shows: the command of a first turn, and the tool. */
  async firstRun(opened) {
    const { page } = opened;
    await page.getByRole("heading", { name: "No calls yet", level: 1 }).waitFor();
    const tool = page.locator("pre", { hasText: "api_schema" });
    await tool.waitFor();
    await accessible(opened);
    await fits(opened);
    return { command: await page.locator("pre").first().innerText(), tool: JSON.parse(await tool.innerText()) };
  },

  /** The command of a first turn, once it holds a text. */
  async firstCommand(opened, { holds }) {
    const command = opened.page.locator("pre", { hasText: holds });
    await command.waitFor();
    await accessible(opened);
    await fits(opened);
    return command.innerText();
  },

  /** A heading, in a view that is accessible. */
  async says(opened, { heading }) {
    await opened.page.getByRole("heading", { name: heading }).filter({ visible: true }).first().waitFor();
    await accessible(opened);
    await fits(opened);
  },

  async press(opened, { button }) {
    await opened.page.getByRole("button", { name: button }).click();
  },

  /** Waits until the texts of what fits a selector are these. */
  async see(opened, { selector, texts }) {
    await see(opened, selector, texts);
    await accessible(opened);
  },

  async signIn(opened, { token, wrong }) {
    const { page } = opened;
    await page.getByRole("heading", { name: "Sign in to read calls" }).waitFor();
    await accessible(opened);
    await fits(opened);
    assert.equal(await page.locator(".row").count(), 0, "nothing is shown before");
    // A browser writes each refused request to its console.
    opened.tolerated = /status of 401/;
    await page.getByLabel("API token").fill(wrong);
    await page.keyboard.press("Enter");
    await page.getByText("Invalid API token.").waitFor();
    await accessible(opened);
    opened.tolerated = null;
    await page.getByLabel("API token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.locator(".row").first().waitFor();
    assert.equal(await page.evaluate(() => document.cookie), "", "no script reads the cookie");
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
    assert.ok(!kept.includes(token), "the token is not kept");
  },

  /** What the page shows a reader with a role: its name, and no more than the role allows. */
  async role(opened, { user, role, call, words }) {
    const { page } = opened;
    const reads = role !== "list";
    await page.locator(".row").first().waitFor();
    await see(opened, "#who", [user]);
    assert.equal(await page.locator("#to-setup").isVisible(), role === "manage");
    await page.locator(`.row a[data-call="${call}"]`).click();
    await page.locator("#call-name").waitFor();
    if (reads) await page.locator("#turns", { hasText: words }).waitFor();
    else await page.locator(".talk .state").waitFor();
    assert.equal((await page.locator("body").innerText()).includes(words), reads);
    // Of the list, and of the call.
    assert.equal(await page.getByText("Export", { exact: true }).filter({ visible: true }).count(), reads ? 2 : 0);
    assert.equal(await page.getByRole("button", { name: "End call…" }).isVisible(), role === "manage");
    await accessible(opened);
    await fits(opened);
    // A page that was opened by its address says so too.
    await page.goto(`${opened.base}/?view=setup`);
    await page.locator(role === "manage" ? "h1" : ".state", { hasText: role === "manage" ? "Set-up" : "No access" }).first().waitFor();
    // Searching finds drivers for everybody, and words for readers.
    await page.goto(`${opened.base}/?q=${encodeURIComponent(words.split(" ")[0])}`);
    await page.locator(reads ? ".snippet" : "#list-pane .state").first().waitFor();
    await accessible(opened);
  },

  /** An address with a token has signed in, and the token is nowhere any more. */
  async arrived(opened, { token, path }) {
    const { page } = opened;
    await page.locator(".row").first().waitFor();
    const left = await page.evaluate(() => JSON.stringify([
      location.href, history.state, document.cookie, { ...localStorage }, { ...sessionStorage }, { ...window.history },
      performance.getEntriesByType("resource").map((entry) => entry.name), document.documentElement.outerHTML,
    ]));
    assert.ok(!left.includes(token), left);
    assert.equal(await page.evaluate(() => location.pathname + location.search + location.hash), path);
    await page.reload();
    await page.locator(".row").first().waitFor();
  },

  /** An address with a wrong token says so and asks; a right one, opened in the same page, signs in. */
  async arrivesLater(opened, { token, wrong }) {
    const { page } = opened;
    await page.getByText("The token in this link is invalid").waitFor();
    await accessible(opened);
    await fits(opened);
    assert.equal(await page.evaluate(() => location.hash), "");
    opened.tolerated = null;
    await page.evaluate((token) => { location.hash = `#token=${token}`; }, token);
    await page.locator(".row").first().waitFor();
    assert.equal(await page.evaluate(() => location.hash), "");
    // Whoever is signed in stays so, whatever an address says.
    opened.tolerated = /status of 401/;
    await page.evaluate((wrong) => { location.hash = `#token=${wrong}`; }, wrong);
    await until(opened, () => location.hash === "");
    await page.locator(".row").first().waitFor();
    opened.tolerated = null;
  },

  /** Goes to another page of the service in the same session. */
  async goTo(opened, { path }) {
    await opened.page.goto(opened.base + path);
  },

  /** A session that has ended leads to the form, and from there to what was being read. */
  async sessionEnds(opened, { token, name }) {
    const { page } = opened;
    await page.context().clearCookies();
    opened.tolerated = /status of 401/;
    await page.getByRole("radio", { name: "Completed" }).check();
    await page.getByText("Your session has ended").waitFor();
    await page.getByLabel("API token").fill(token);
    await page.keyboard.press("Enter");
    await see(opened, "#call-name", [name]);
    opened.tolerated = null;
  },

  async signOut(opened) {
    await opened.page.getByRole("button", { name: "Sign out" }).click();
    await opened.page.getByRole("heading", { name: "Sign in to read calls" }).waitFor();
    // The heading may appear before the answer that deletes the cookie, because the session's streams end first.
    const deadline = Date.now() + 10_000;
    while ((await opened.page.context().cookies()).length > 0 && Date.now() < deadline) await opened.page.waitForTimeout(20);
    assert.deepEqual(await opened.page.context().cookies(), []);
    await opened.page.reload();
    await opened.page.getByRole("heading", { name: "Sign in to read calls" }).waitFor();
  },

  /** Words that are HTML, or that are written from right to left, are words. */
  async hostile(opened, { words, rightToLeft }) {
    const { page } = opened;
    await see(opened, ".turn .words", words);
    const odd = "main img, main script, main iframe, main style, main b, main i, #main svg, #main form, main a[href^='javascript']";
    // While the list is awaited, it is drawn with elements of such names.
    await until(opened, () => document.querySelector(".skeleton") === null);
    assert.equal(await page.evaluate((odd) => document.querySelectorAll(odd).length, odd), 0, "no element is made of words");
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    const align = await page.locator(".turn .words", { hasText: rightToLeft }).evaluate((e) => e.matches(":dir(rtl)"));
    assert.equal(align, true, "it is laid out from right to left");
    await accessible(opened);
    await fits(opened);
  },

  /** What is found within such words is marked, and the words' own marks are words. */
  async foundHostile(opened, { words, marked, within }) {
    await opened.page.getByRole("searchbox").fill(words);
    await until(opened, (n) => document.querySelectorAll(".snippet mark").length === n, marked.length);
    assert.deepEqual(await opened.page.locator(".snippet mark").allInnerTexts(), marked);
    assert.equal(await opened.page.locator(".snippet", { hasText: within }).count() > 0, true);
    await accessible(opened);
  },

  /** The page lets no text be read as HTML, whoever tries. */
  async locked(opened) {
    const refused = await opened.page.evaluate(() => {
      try {
        document.createElement("p").innerHTML = "<b>x</b>";
        return false;
      } catch {
        return true;
      }
    });
    assert.equal(refused, true);
    // That was one error of the console's, and wanted.
    opened.faults.length = 0;
  },

  async absent(opened, { says }) {
    opened.tolerated = /status of 404/;
    await opened.page.getByText(says).waitFor();
    await accessible(opened);
    opened.faults.length = 0;
  },

  /** Light and dark: by the system, and by the button, which is remembered. */
  async themes(opened) {
    const { page } = opened;
    const dark = () => page.evaluate(() => {
      const [r] = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number);
      return r < 128;
    });
    const button = page.getByRole("button", { name: /^Colours/ });
    assert.equal(await dark(), true, "as the system has it");
    await button.click();
    assert.equal(await dark(), false);
    await accessible(opened);
    await page.reload();
    await page.locator(".row").first().waitFor();
    assert.equal(await dark(), false, "the choice is kept");
    await button.click();
    await button.click();
    assert.equal(await dark(), true);
  },

  /** On a phone the list and the call take turns, and the facts wait behind a button. */
  async phone(opened, { name }) {
    const { page } = opened;
    await page.locator(".row a", { hasText: name }).first().click();
    await see(opened, "#call-name", [name]);
    assert.equal(await page.locator("#list-pane").isVisible(), false);
    assert.equal(await page.locator(".turn .who").first().isVisible(), true, "who speaks");
    await fits(opened);
    const about = page.getByRole("button", { name: "About" });
    assert.equal(await about.getAttribute("aria-expanded"), "false");
    await about.click();
    await page.locator(".facts").waitFor();
    await accessible(opened);
    await fits(opened);
    await page.getByRole("link", { name: "Back to the calls" }).click();
    await page.locator("#list-pane").waitFor();
    assert.equal(await page.locator("#main").isVisible(), false);
  },

  /** What the first page costs over the wire, in bytes: all that is loaded until nothing more comes. */
  async weigh(opened, { url, rows }) {
    const { page } = opened;
    const client = await page.context().newCDPSession(page);
    await client.send("Network.enable");
    await client.send("Network.setCacheDisabled", { cacheDisabled: true });
    let bytes = 0;
    client.on("Network.loadingFinished", ({ encodedDataLength }) => (bytes += encodedDataLength));
    await page.goto(url);
    await until(opened, (n) => document.querySelectorAll(".row").length === n, rows);
    await until(opened, () => document.getElementById("connection").dataset.state === "live");
    await client.detach();
    return bytes;
  },

  /** Of a page that is loaded again, the files come from the browser's own store. */
  async cached(opened) {
    const { page } = opened;
    const client = await page.context().newCDPSession(page);
    await client.send("Network.enable");
    await client.send("Network.setCacheDisabled", { cacheDisabled: false });
    const visit = async () => {
      await page.goto(page.url());
      await page.locator(".row").first().waitFor();
    };
    await visit();
    const urls = new Map();
    const fetched = [];
    client.on("Network.requestWillBeSent", ({ requestId, request }) => urls.set(requestId, request.url));
    client.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
      if (encodedDataLength > 0) fetched.push(urls.get(requestId));
    });
    await visit();
    assert.ok([...urls.values()].some((url) => url.includes("/assets/")), "files are asked for");
    assert.deepEqual(fetched.filter((url) => url.includes("/assets/")), [], "every file is kept by the browser");
  },
};
