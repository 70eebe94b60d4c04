// Steps of reading: the list and its filters, a call, what a search finds, statistics.

import { strict as assert } from "node:assert";
import { readFile } from "node:fs/promises";
import { accessible, fits, see, texts, until } from "./look.mjs";

export const steps = {
  /** The names in the list, by group. */
  async list(opened, { groups }) {
    await until(opened, (n) => document.querySelectorAll(".group").length === n, Object.keys(groups).length);
    for (const [name, rows] of Object.entries(groups)) {
      const group = opened.page.locator("section.group", { has: opened.page.locator("h2", { hasText: name }) });
      const shown = await group.locator(".name bdi").allInnerTexts();
      assert.deepEqual(shown, rows, name);
    }
    await accessible(opened);
    await fits(opened);
  },

  async status(opened, { name, rows }) {
    await opened.page.getByRole("radio", { name }).check();
    await see(opened, ".scroll .name bdi", rows);
  },

  /** Chooses a driver by the beginning of the name, with the keyboard alone. */
  async driver(opened, { typed, rows }) {
    const field = opened.page.getByRole("combobox", { name: "Driver" });
    await field.click();
    await field.pressSequentially(typed);
    await opened.page.getByRole("option").first().waitFor();
    await accessible(opened);
    await field.press("Enter");
    await see(opened, ".scroll .name bdi", rows);
  },

  async days(opened, { from, to, rows }) {
    await opened.page.getByRole("combobox", { name: "Days" }).selectOption("own");
    await opened.page.getByLabel("From", { exact: true }).fill(from);
    await opened.page.getByLabel("To", { exact: true }).fill(to);
    await see(opened, ".scroll .name bdi", rows);
  },

  async clear(opened, { rows }) {
    await opened.page.getByRole("button", { name: "Clear filters" }).first().click();
    await see(opened, ".scroll .name bdi", rows);
  },

  /** Opens a call by its row. */
  async choose(opened, { name }) {
    await opened.page.locator(".scroll a[data-call]", { hasText: name }).first().click();
    await see(opened, "#call-name", [name]);
    await accessible(opened);
    await fits(opened);
  },

  /** The conversation as it is read. */
  async conversation(opened, { words, days }) {
    await see(opened, ".turn .words", words);
    if (days) assert.deepEqual(await texts(opened, ".day"), days);
  },

  /** What is marked on a turn, and its words as heard. */
  async turn(opened, { number, notes, heard }) {
    const turn = opened.page.locator(`#turn-${number}`);
    assert.deepEqual(await turn.locator(".note").allInnerTexts(), notes);
    if (heard !== undefined) {
      const words = turn.locator(".as-heard");
      assert.equal(await words.isVisible(), false, "it is shown when asked for");
      await turn.getByText("As received").click();
      assert.equal(await words.innerText(), heard);
      await accessible(opened);
    }
  },

  /** Texts that stand beside the conversation. */
  async facts(opened, { texts: wanted }) {
    const text = await opened.page.locator(".facts").innerText();
    for (const part of wanted) assert.ok(text.includes(part), `${part} is not in ${text}`);
  },

  /** Every time of a turn says UTC when it is pointed at, and is shown in the reader's zone. */
  async times(opened, { number, shown, utc }) {
    const time = opened.page.locator(`#turn-${number} time`);
    assert.equal(await time.innerText(), shown);
    assert.equal(await time.getAttribute("title"), utc);
  },

  /** The turn that the address names is in sight and marked. */
  async pointed(opened, { number }) {
    await until(opened, (id) => {
      const turn = document.getElementById(id);
      if (!turn?.classList.contains("pointed")) return false;
      const box = turn.getBoundingClientRect();
      const frame = document.getElementById("turns").getBoundingClientRect();
      return box.top >= frame.top && box.bottom <= frame.bottom;
    }, `turn-${number}`);
  },

  /** Types into the search field, which `/` leads to. */
  async search(opened, { words, found, marked }) {
    await opened.page.keyboard.press("/");
    await opened.page.keyboard.press("Control+A");
    await opened.page.keyboard.type(words);
    await see(opened, ".scroll .snippet", found);
    assert.deepEqual(await texts(opened, ".snippet mark"), marked);
    await accessible(opened);
    await fits(opened);
  },

  async nothingFound(opened, { words, says }) {
    await opened.page.getByRole("searchbox").fill(words);
    await opened.page.locator(".scroll").getByText(says).waitFor();
    await accessible(opened);
  },

  /** A search that cannot be read is answered with its rule. */
  async refused(opened, { words, says }) {
    opened.tolerated = /status of 400/;
    await opened.page.getByRole("searchbox").fill(words);
    await opened.page.getByText(says).waitFor();
    await accessible(opened);
    opened.tolerated = null;
  },

  /** Opens what was found first, and finds the words marked in the conversation. */
  async openFound(opened, { number, marked }) {
    await opened.page.keyboard.press("ArrowDown");
    await opened.page.keyboard.press("Enter");
    await steps.pointed(opened, { number });
    await until(opened, (n) => CSS.highlights.get("found")?.size === n, marked.length);
    const words = await opened.page.evaluate(() => [...CSS.highlights.get("found")].map((range) => range.toString()));
    assert.deepEqual(words, marked);
  },

  /** The keys lead through the list, into a call, out of it, and to the help. */
  async keys(opened, { first, second }) {
    const { page } = opened;
    await page.keyboard.press("j");
    const focused = () => page.evaluate(() => document.activeElement?.querySelector("bdi")?.textContent);
    assert.equal(await focused(), first);
    await page.keyboard.press("j");
    assert.equal(await focused(), second);
    await page.keyboard.press("k");
    await page.keyboard.press("ArrowDown");
    assert.equal(await focused(), second);
    await page.keyboard.press("Enter");
    await see(opened, "#call-name", [second]);
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await accessible(opened);
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "hidden" });
    assert.equal(new URL(page.url()).searchParams.has("call"), true, "one Escape closes one thing");
    await page.keyboard.press("Escape");
    await page.getByText("No call is open").waitFor();
    assert.equal(await focused(), second);
    await page.goBack();
    await see(opened, "#call-name", [second]);
  },

  /** What the button copies. */
  async copied(opened, { lines }) {
    const { page } = opened;
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy", exact: true }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    const text = await page.evaluate(() => navigator.clipboard.readText());
    for (const line of lines) assert.ok(text.split("\n").includes(line), `${line} is not in ${text}`);
  },

  /** On paper, the conversation and what is known stand in full, and nothing that can only be clicked. */
  async printed(opened, { words }) {
    const { page } = opened;
    await page.emulateMedia({ media: "print" });
    assert.deepEqual(await texts(opened, ".turn .words"), words);
    assert.equal(await page.locator(".facts").isVisible(), true);
    for (const hidden of [".top", ".list-pane", ".actions"]) assert.equal(await page.locator(hidden).isVisible(), false, hidden);
    const cut = await page.evaluate(() => [...document.querySelectorAll("body, .turns, .facts, .call")].filter((e) => getComputedStyle(e).overflowY !== "visible").map((e) => e.className));
    assert.deepEqual(cut, [], "nothing is cut off at the end of a sheet");
    await page.emulateMedia({ media: "screen" });
  },

  /** The figures, what the drawings say, and the tables beside them. */
  async statistics(opened, { tiles, drawings, tables }) {
    const { page } = opened;
    await page.getByRole("heading", { name: "Calls by day" }).waitFor();
    await until(opened, (n) => document.querySelectorAll(".drawing svg").length === n, drawings.length);
    const shown = await page.locator(".tile").evaluateAll((tiles) => Object.fromEntries(tiles.map((tile) => [tile.children[0].textContent, tile.children[1].firstChild.textContent])));
    for (const [name, value] of Object.entries(tiles)) assert.equal(shown[name], value, name);
    const says = await page.locator(".drawing svg").evaluateAll((drawings) => drawings.map((svg) => svg.getAttribute("aria-label")));
    assert.deepEqual(says, drawings);
    for (const [n, rows] of tables.entries()) {
      await page.getByText("Show as a table").nth(n).click();
      const cells = await page.locator("table").nth(n).locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
      assert.deepEqual(cells, rows);
    }
    await accessible(opened);
    await fits(opened);
  },

  /** Who talks how much, in the chart, and the silence, in the text above it. */
  async speakingTime(opened, { rows, silence }) {
    const figure = opened.page.locator("figure", { has: opened.page.getByRole("heading", { name: "Speaking time" }) });
    await figure.locator(".drawing text:not(.name)").first().waitFor();
    assert.deepEqual(await figure.locator(".drawing text:not(.name)").allTextContents(), rows);
    const widths = await figure.locator(".drawing rect").evaluateAll((parts) => parts.map((part) => Number(part.getAttribute("width"))));
    const whole = await figure.locator(".drawing").evaluate((drawing) => drawing.clientWidth);
    assert.ok(Math.abs(widths.reduce((sum, width) => sum + width, 0) - whole) < 1, `${widths} fill ${whole}`);
    assert.ok((await figure.locator("p").first().innerText()).includes(` ${silence},`));
  },

  /** No row of tiles has a hole at its end. */
  async filledRows(opened) {
    const { page } = opened;
    await page.getByRole("heading", { name: "Calls by day" }).waitFor();
    const holes = await page.evaluate(() => [...document.querySelectorAll(".tiles")].flatMap((tiles) => {
      const ends = new Map();
      for (const tile of tiles.children) {
        const { top, right } = tile.getBoundingClientRect();
        ends.set(Math.round(top), Math.max(right, ends.get(Math.round(top)) ?? 0));
      }
      return [...ends.values()].map((right) => tiles.getBoundingClientRect().right - right);
    }));
    assert.ok(holes.length > 2, `${holes}`);
    assert.deepEqual(holes.filter((hole) => hole > 1), []);
    assert.equal(await page.evaluate(() => new Set([...document.querySelectorAll(".tiles > .tile")].map((tile) => Math.round(tile.getBoundingClientRect().left))).size > 1), true, "they stand side by side");
  },

  /** Every label of a drawing is inside its figure, and none covers another one. */
  async labelsInside(opened) {
    await until(opened, () => document.querySelectorAll(".drawing svg").length === 3, null);
    const found = await opened.page.evaluate(() => [...document.querySelectorAll(".drawing svg")].flatMap((svg) => {
      const frame = svg.getBoundingClientRect();
      const labels = [...svg.querySelectorAll("text")].map((text) => ({ text: text.textContent, box: text.getBoundingClientRect() }));
      const outside = labels.filter(({ box }) => box.left < frame.left - 0.5 || box.right > frame.right + 0.5).map(({ text }) => `${text} is outside`);
      const covered = labels.flatMap((one, n) => labels.slice(n + 1).filter(({ box }) =>
        box.left < one.box.right && one.box.left < box.right && box.top < one.box.bottom - 2 && one.box.top < box.bottom - 2).map(({ text }) => `${text} covers ${one.text}`));
      return [...outside, ...covered];
    }));
    assert.deepEqual(found, []);
  },

  /** Groups the calls by a property. The shares add up, and the control keeps the focus. */
  async byProperty(opened, { name, by, values, calls }) {
    const { page } = opened;
    await page.getByRole("radio", { name, exact: true }).check();
    await until(opened, (name) => document.querySelector("#by-property th")?.textContent === name, name);
    assert.equal(new URL(page.url()).searchParams.get("by") ?? "", by);
    const rows = await page.locator("#by-property tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
    assert.deepEqual(rows.map(([value]) => value), values);
    const sum = (n) => rows.reduce((sum, row) => sum + Number.parseInt(row[n].replaceAll(",", ""), 10), 0);
    assert.deepEqual([sum(1), sum(2)], [calls, 100]);
    await until(opened, (name) => document.activeElement?.closest("label")?.textContent === name, name);
    await accessible(opened);
    await fits(opened);
  },

  /** The values of tiles, with what stands below them. */
  async figures(opened, { tiles }) {
    const { page } = opened;
    await page.getByRole("heading", { name: "Calls by day" }).waitFor();
    const shown = await page.locator(".tile").evaluateAll((tiles) => Object.fromEntries(tiles.map(({ children: [name, value] }) =>
      [name.textContent, [...value.childNodes].map((node) => node.textContent.trim()).join(" ")])));
    for (const [name, value] of Object.entries(tiles)) assert.ok(`${shown[name]} `.startsWith(`${value} `), `${name}: ${shown[name]}, not ${value}`);
  },

  /** Number of calls and mean length of each driver in a week, from the page's table. */
  async driversOfWeek(opened, { path, drivers }) {
    const { page } = opened;
    await page.goto(opened.base + path);
    const table = page.locator("figure", { has: page.getByRole("heading", { name: "Speaking time" }) }).locator("table");
    await table.waitFor({ state: "attached" });
    const rows = await table.locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
    assert.deepEqual(Object.fromEntries(rows.map((row) => [row[0], [row[1], row.at(-1)]])), drivers);
  },

  async noStatistics(opened) {
    await opened.page.getByText("No calls in this period").waitFor();
    await accessible(opened);
    await opened.page.getByRole("link", { name: "Last 90 days" }).click();
    await opened.page.getByRole("heading", { name: "Calls by day" }).waitFor();
  },

  /** The line on events that could not be read. */
  async unreadEvents(opened, { text }) {
    await opened.page.getByText("No calls yet").waitFor();
    const shown = await opened.page.locator("#unread").textContent();
    if (shown !== text) throw new Error(`the page says: ${shown}`);
    await accessible(opened);
  },

  /** What the menu's link downloads. */
  async exported(opened, { name, file, begins, holds }) {
    const { page } = opened;
    await page.locator(".menu summary").click();
    const download = page.waitForEvent("download");
    await page.locator(".menu a", { hasText: name }).click();
    const got = await download;
    assert.equal(got.suggestedFilename(), file);
    const text = await readFile(await got.path(), "utf8");
    assert.ok(text.startsWith(begins), `${name} begins ${text.slice(0, 80)}`);
    for (const words of holds) assert.ok(text.includes(words), `${words} is not in ${text}`);
    await until(opened, () => !document.querySelector(".menu").open);
  },

  /** There is nothing to be played. */
  async noRecording(opened) {
    assert.equal(await opened.page.locator("audio").count(), 0);
  },

  /** A click on a turn's time plays the recording from there. */
  async seek(opened, { number, seconds }) {
    const { page } = opened;
    await page.locator("audio").waitFor();
    // So slowly that it is still there when a busy machine comes to look.
    await page.evaluate(() => { document.querySelector("audio").playbackRate = 0.0625; });
    await page.locator(`#turn-${number} button.at`).click();
    await until(opened, (wanted) => {
      const audio = document.querySelector("audio");
      return audio.readyState >= 2 && Math.abs(audio.currentTime - wanted) < 2;
    }, seconds);
    await until(opened, (id) => document.getElementById(id).classList.contains("playing"), `turn-${number}`);
    await page.evaluate(() => document.querySelector("audio").pause());
    await accessible(opened);
  },
};
