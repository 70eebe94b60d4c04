// Steps of finding calls: one search box, filters, orders; and of what is understood of a call.

import { strict as assert } from "node:assert";
import { readFile } from "node:fs/promises";
import { accessible, fits, see, texts, until } from "./look.mjs";

/** Minimum width and height of what can be clicked, in pixels. */
const MIN_TARGET_PX = 24;

export const steps = {
  /** What the search box offers besides words, and where the first offer leads. */
  async offered(opened, { words, offers, rows }) {
    const { page } = opened;
    await page.getByRole("searchbox").fill(words);
    await see(opened, ".offer .name", offers);
    await accessible(opened);
    await fits(opened);
    if (!rows) return;
    await page.locator(".offer a").first().click();
    await see(opened, ".scroll .row .name bdi", rows);
  },

  /** Hits of one call stand together, with their number and their seconds, in the order that is named. */
  async grouped(opened, { words, speaker, groups, order }) {
    await opened.page.getByRole("searchbox").fill(words);
    if (speaker !== undefined) await opened.page.getByRole("combobox", { name: "Speaker" }).selectOption(speaker);
    const names = groups.map(({ name }) => name).join();
    await until(opened, (names) => [...document.querySelectorAll(".found-call .name")].map((name) => name.textContent).join() === names, names);
    const shown = await opened.page.locator(".found-call").evaluateAll((groups) => groups.map((group) => ({
      name: group.querySelector(".name").textContent,
      number: group.querySelector(".length").textContent,
      seconds: [...group.querySelectorAll(".at")].map((at) => at.textContent),
    })));
    assert.deepEqual(shown, groups);
    const named = await opened.page.getByRole("combobox", { name: "Sort order of results" }).evaluate((select) => select.selectedOptions[0].text);
    if (order) assert.equal(named, order);
    await accessible(opened);
  },

  /** Orders the list; names in that order, and what stands beside them. */
  async ordered(opened, { order, names, lengths }) {
    await opened.page.getByRole("combobox", { name: "Order" }).selectOption(order);
    await see(opened, ".scroll .row .name bdi", names);
    if (lengths) assert.deepEqual(await texts(opened, ".scroll .row .length"), lengths);
    await accessible(opened);
    await fits(opened);
  },

  /** The chips of filters. */
  async chips(opened, { names }) {
    await see(opened, ".filter-chip", names);
  },

  /** The names of the calls in the list. */
  async names(opened, { names }) {
    await see(opened, ".scroll .row .name bdi", names);
  },

  /** What is offered instead of a search that finds nothing, and what that finds. */
  async wider(opened, { words, name, query, groups }) {
    const { page } = opened;
    await page.getByRole("searchbox").fill(words);
    await page.locator(".scroll .state", { hasText: "Nothing found" }).waitFor();
    const button = page.getByRole("button", { name, exact: true });
    if (query === null) return assert.equal(await button.count(), 0);
    await page.locator(".scroll .state", { hasText: `more: ${query}` }).waitFor();
    await accessible(opened);
    await button.click();
    assert.equal(new URL(page.url()).searchParams.get("q"), query);
    await see(opened, ".found-call .name", groups);
  },

  /** A chip that is pressed filters the list, and says how many calls there are. */
  async chip(opened, { name, rows, sum }) {
    const { page } = opened;
    const chip = page.getByRole("button", { name, exact: true });
    await chip.click();
    await until(opened, (name) => [...document.querySelectorAll(".filter-chip")].some((chip) => chip.firstChild.textContent === name && chip.ariaPressed === "true"), name);
    if (rows.length > 0) await see(opened, ".scroll .row .name bdi", rows);
    else await page.getByText("No matching calls").waitFor();
    if (sum) await see(opened, ".sum", [sum]);
    assert.equal(await page.evaluate(() => document.activeElement?.className), "filter-chip", "the chip keeps the focus");
    await accessible(opened);
    await page.locator(".filter-chip[aria-pressed=true]", { hasText: name }).click();
  },

  /** Filters in the panel, which the URL has and a chip shows. */
  async moreFilters(opened, { label, value, chip, rows, sum }) {
    const { page } = opened;
    if (!(await page.locator("#more-filters").isVisible())) await page.getByRole("button", { name: "More filters" }).click();
    const field = page.locator("#more-filters label", { has: page.getByText(label, { exact: true }) }).locator("select, input");
    if (await field.evaluate((field) => field.matches("select"))) await field.selectOption(value);
    else {
      await field.fill(value);
      await field.press("Enter");
    }
    await page.locator(".filter-chip[aria-pressed=true]", { hasText: chip }).waitFor();
    await see(opened, ".scroll .row .name bdi", rows);
    await see(opened, ".sum", [sum]);
    await accessible(opened);
    await fits(opened);
    await page.reload();
    await see(opened, ".scroll .row .name bdi", rows);
    await page.locator(".filter-chip[aria-pressed=true]", { hasText: chip }).click();
  },

  /** The table of the calls that the list shows. */
  async exportedList(opened, { rows }) {
    const { page } = opened;
    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: "Export", exact: true }).click();
    const text = await readFile(await (await download).path(), "utf8");
    const [head, ...lines] = text.trimEnd().split("\r\n");
    assert.ok(head.startsWith("conversation_id,call_start_time,"), head);
    assert.deepEqual(lines.map((line) => line.split(",")[0]).sort(), rows);
  },

  /** The first arrow down in the driver's field takes the first driver. */
  async firstOption(opened, { typed, name }) {
    const field = opened.page.getByRole("combobox", { name: "Driver" });
    await field.click();
    await field.pressSequentially(typed);
    await opened.page.getByRole("option", { name }).waitFor();
    await field.press("ArrowDown");
    await until(opened, () => document.activeElement?.hasAttribute("aria-activedescendant"), null);
    const active = await field.getAttribute("aria-activedescendant");
    assert.ok((await opened.page.locator(`#${active}`).textContent()).includes(name));
    await field.press("Escape");
  },

  /** The links for the keyboard lead to the list and to the conversation. */
  async skipLinks(opened) {
    const { page } = opened;
    for (const [name, id] of [["Skip to the list of calls", "list-pane"], ["Skip to the conversation", "main"]]) {
      await page.getByRole("link", { name }).focus();
      await page.keyboard.press("Enter");
      await until(opened, (id) => document.activeElement?.id === id, id);
    }
  },

  /** Whatever can be clicked is large enough for a finger. */
  async targets(opened) {
    const small = await opened.page.evaluate((min) => [...document.querySelectorAll("a[href], button, input, select, summary")]
      .filter((e) => e.checkVisibility() && !e.closest("p, .unseen, .skip, .segments"))
      .map((e) => ({ e, box: e.getBoundingClientRect() }))
      .filter(({ box }) => box.width > 0 && (box.width < min - 0.5 || box.height < min - 0.5))
      .map(({ e, box }) => `${e.outerHTML.slice(0, 120)} ${Math.round(box.width)} x ${Math.round(box.height)}`), MIN_TARGET_PX);
    assert.deepEqual(small, []);
  },

  /** A call that is silent stands apart, with its date, and can be ended on the page. */
  async quiet(opened, { name, about, dated }) {
    const { page } = opened;
    const group = page.locator("section.group", { has: page.locator("h2", { hasText: "Quiet" }) });
    const row = group.locator(".row", { hasText: name });
    await row.waitFor();
    assert.ok((await row.locator(".about").innerText()).startsWith(about));
    assert.ok((await row.locator(".when").innerText()).includes(dated), await row.locator(".when").innerText());
    await row.locator("a").click();
    await page.getByRole("button", { name: "End call" }).click();
    await page.getByRole("dialog").waitFor();
    await accessible(opened);
    await page.getByRole("button", { name: "Mark as failed" }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.locator(".ended", { hasText: "The call failed" }).waitFor();
    await until(opened, () => ![...document.querySelectorAll(".group h2")].some((title) => title.textContent.startsWith("Quiet")));
  },

  /** Ends the open call as completed. The page then shows its length. */
  async markCompleted(opened, { length }) {
    const { page } = opened;
    await page.getByRole("button", { name: "End call" }).click();
    await page.getByRole("dialog").waitFor();
    await page.getByRole("button", { name: "Mark as completed" }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.locator(".ended", { hasText: "The call ended" }).waitFor();
    await until(opened, (length) => [...document.querySelectorAll(".facts dt")].some((name) => name.textContent === "Length" && name.nextElementSibling.textContent === length), length);
    await until(opened, (length) => document.querySelector(".row .length").textContent.startsWith(`${length} `), length);
  },

  /** What the page says of ElevenLabs' settings: each finding with its remedy, and of each missing part its flag. */
  async findings(opened, { found, missing }) {
    const { page } = opened;
    const section = page.locator("section.figure", { has: page.locator("#findings-title") });
    await section.waitFor();
    const shown = await section.locator("dt").evaluateAll((all) => all.map((text) => [text.textContent, text.nextElementSibling.textContent]));
    const plain = (texts) => texts.map((pair) => pair.map((text) => text.toLowerCase().replace(/\.$/, "")));
    assert.deepEqual(plain(shown), plain(found));
    assert.ok((await section.locator(".chip").innerText()).startsWith(`${found.length} `));
    const parts = page.locator("section.figure", { has: page.locator("#missing-title") });
    const command = await parts.locator("pre").innerText();
    assert.ok(command.startsWith("transcribe-hook serve "), command);
    assert.deepEqual(missing.filter((flag) => !command.includes(flag)), []);
    assert.equal(await parts.locator("dt").count(), missing.length);
    await accessible(opened);
    await fits(opened);
  },

  /** The accesses that the page shows, after each of these filters was set. */
  async accesses(opened, { filters }) {
    const { page } = opened;
    for (const { label, value, path, rows } of filters) {
      if (path) await page.goto(opened.base + path);
      const field = label && page.locator(".stats-bar label", { hasText: label }).locator("input, select");
      if (label && await field.evaluate((field) => field.matches("select"))) await field.selectOption(value);
      else if (label) {
        await field.fill(value);
        await field.press("Tab");
      }
      if (rows.length === 0) await page.getByRole("heading", { name: "No matching accesses" }).waitFor();
      await see(opened, ".accesses tbody td:nth-child(n+2)", rows.flat());
      await accessible(opened);
      await fits(opened);
    }
  },

  /** Who read the open call, as the link of its details tells. */
  async readers(opened, { rows }) {
    const { page } = opened;
    const link = page.getByRole("link", { name: "Who read this call" });
    // An access is in the log within about a second.
    for (let n = 0; ; n++) {
      await link.click();
      await page.locator(".accesses").waitFor();
      if (await page.locator(".accesses tbody tr").count() >= rows.length) break;
      assert.ok(n < 100, "the accesses come");
      await page.goBack();
    }
    await see(opened, ".accesses tbody td:nth-child(n+2)", rows.flat());
    await page.locator(".accesses").getByRole("link", { name: rows[0][2] }).first().click();
    await page.locator(".call-head").waitFor();
  },

  /** On paper, the header has the date, the zone, the number and the id. */
  async paper(opened, { parts }) {
    const { page } = opened;
    const line = page.locator(".on-paper");
    assert.equal(await line.isVisible(), false);
    await page.emulateMedia({ media: "print" });
    const text = await line.innerText();
    for (const part of parts) assert.ok(text.includes(part), `${part} is not in ${text}`);
    await page.emulateMedia({ media: "screen" });
  },

  /** The state of a webhook, and the class of its mark. */
  async hookState(opened, { name, state, kind }) {
    const chip = opened.page.locator(".webhook h2", { hasText: name }).locator(".chip", { hasText: state });
    await chip.waitFor();
    assert.equal(await chip.getAttribute("class"), `chip ${kind}`);
    await accessible(opened);
    await fits(opened);
  },

  /** Opens the set-up page again, with these values in place of the service's. */
  async setUpWith(opened, { setup, webhooks }) {
    const { page } = opened;
    await page.route(/\/api\/v1\/setup$/, async (route) => {
      const response = await route.fetch();
      const body = Object.assign(await response.json(), setup);
      for (const hook of body.webhooks) Object.assign(hook, webhooks[hook.path]);
      return route.fulfill({ response, json: body });
    });
    await page.reload();
    await page.locator("#missing-title").waitFor();
  },

  /** The commands and lines for what is missing. */
  async setUpCommands(opened) {
    const parts = opened.page.locator("section.figure", { has: opened.page.locator("#missing-title") });
    await parts.waitFor();
    await accessible(opened);
    await fits(opened);
    return parts.locator("pre").allInnerTexts();
  },

  /** Who and which call have most of the width on a phone; nothing has to be scrolled to the side. */
  async wideCells(opened, { phone }) {
    await opened.page.locator(".accesses tbody tr").first().waitFor();
    const rows = await opened.page.evaluate(() => [...document.querySelectorAll(".accesses tbody tr")].map((row) => ({
      lines: new Set([...row.cells].map((cell) => Math.round(cell.getBoundingClientRect().top))).size,
      least: Math.min(...[row.cells[1], row.cells[3]].map((cell) => cell.clientWidth / row.clientWidth)),
    })));
    for (const { lines, least } of rows) {
      assert.equal(lines, phone ? 2 : 1);
      if (phone) assert.ok(least > 0.5, `a cell has ${least} of the width`);
    }
    const hidden = await opened.page.evaluate(() => [...document.querySelectorAll(".table")].filter((e) => e.scrollWidth > e.clientWidth + 1).length);
    assert.equal(hidden, 0);
  },

  /** What the page says of each webhook and of what is missing. */
  async setUp(opened, { hooks, missing, reason }) {
    const { page } = opened;
    await page.getByRole("link", { name: "Set-up" }).click();
    for (const [name, state] of Object.entries(hooks)) {
      await page.locator(".webhook h2", { hasText: name }).locator(".chip", { hasText: state }).waitFor();
    }
    const body = await page.locator(".page").innerText();
    for (const part of missing) assert.ok(body.includes(part), `${part} is not in ${body}`);
    assert.ok(body.includes(reason), `${reason} is not in ${body}`);
    assert.ok(body.includes("ElevenLabs cannot reach"), "an address of this machine is not given out as reachable");
    assert.ok(!(await page.locator(".webhook pre").allInnerTexts()).some((text) => text.includes("127.0.0.1")));
    await accessible(opened);
    await fits(opened);
  },

  /** Adds fields to responses of the API, and answers tool calls: what the record of this test does not have. */
  async understood(opened, { call, turns, tools, url }) {
    const { page } = opened;
    await page.route(/\/api\/v1\/calls[/?]/, async (route) => {
      const path = new URL(route.request().url()).pathname;
      if (path.endsWith("/tool_calls")) return route.fulfill({ json: { data: tools, next_cursor: null, has_more: false } });
      const response = await route.fetch();
      const body = await response.json();
      if (path.endsWith("/transcriptions")) for (const turn of body.data) Object.assign(turn, turns[turn.sequence_number]);
      else for (const one of body.data ?? [body]) if (one.conversation_id === call.conversation_id) Object.assign(one, call);
      return route.fulfill({ response, json: body });
    });
    await page.goto(url);
  },

  /** The badges of a call, in the list and in its header. */
  async badges(opened, { name, row, head }) {
    const { page } = opened;
    await see(opened, ".call-head .chip", head);
    const shown = await page.locator(".row", { hasText: name }).locator(".chip").allInnerTexts();
    assert.deepEqual(shown, row);
    await accessible(opened);
    await fits(opened);
  },

  /** Everything between the turns, in order: speakers, kinds, waits and tools. */
  async between(opened, { items }) {
    await until(opened, (n) => document.querySelectorAll(".turns .turn, .turns .tool, .turns .wait").length === n, items.length);
    const shown = await opened.page.locator(".turns").locator(".turn, .tool, .wait").evaluateAll((items) => items.map((item) => {
      if (item.matches(".wait")) return item.firstChild.textContent;
      if (item.matches(".tool")) return item.querySelector("summary").textContent.trim();
      return [item.querySelector(".who").textContent, item.querySelector(".kind")?.textContent].filter(Boolean).join(": ");
    }));
    assert.deepEqual(shown, items);
  },

  /** What the page says of the call's record. */
  async recordSays(opened, { text }) {
    await opened.page.getByRole("region", { name: "Record", exact: true }).or(opened.page.locator("section", { has: opened.page.getByRole("heading", { name: "Record", exact: true }) })).first().waitFor();
    await opened.page.getByText(text, { exact: true }).waitFor();
  },

  /** A tool call is unfolded to its arguments and its result. */
  async unfolded(opened, { number, texts: wanted }) {
    const tool = opened.page.locator(`#tool-${number}`);
    assert.equal(await tool.locator("pre").first().isVisible(), false);
    await tool.locator("summary").click();
    assert.deepEqual(await tool.locator("pre").allInnerTexts(), wanted);
    await accessible(opened);
    await fits(opened);
  },
};
