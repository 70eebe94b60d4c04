// Steps on a list of many calls.

import { strict as assert } from "node:assert";
import { accessible, until } from "./look.mjs";

/** Maximum time for loading all calls, in milliseconds. */
const LOADING_MS = 240_000;

export const steps = {
  /** Scrolls to the end of the list until all calls are loaded. */
  async orderedRows(opened, { rows }) {
    await opened.page.waitForFunction((rows) => {
      const scroller = document.querySelector(".scroll:not([hidden])");
      scroller.scrollTop = scroller.scrollHeight;
      return document.querySelectorAll(".row").length >= rows && document.querySelector(".more").childNodes.length === 0;
    }, rows, { timeout: LOADING_MS });
  },

  /** All calls by time: each is there once, newest first. */
  async allRows(opened, { rows }) {
    const { page } = opened;
    await steps.orderedRows(opened, { rows });
    const times = await page.evaluate(() => [...document.querySelectorAll(".group:not(.live-group) .row .when time")].map((time) => time.dateTime));
    const ids = await page.evaluate(() => [...document.querySelectorAll(".row a")].map((link) => link.dataset.call));
    assert.deepEqual([ids.length, new Set(ids).size], [rows, rows]);
    assert.deepEqual(times, [...times].sort().reverse(), "newest first");
    const wide = await page.evaluate(() => document.querySelector(".scroll").scrollWidth - document.querySelector(".scroll").clientWidth);
    assert.equal(wide, 0, "nothing sticks out at the side");
  },

  /** A turn of a running call changes its row alone. The page's scripts take less than `most` milliseconds of the processor. */
  async oneTurn(opened, { turn, most }) {
    const { page } = opened;
    const session = await page.context().newCDPSession(page);
    await session.send("Performance.enable", { timeDomain: "threadTicks" });
    const spent = async () => (await session.send("Performance.getMetrics")).metrics.find(({ name }) => name === "ScriptDuration").value * 1000;
    await page.evaluate(() => {
      const scroller = document.querySelector(".scroll:not([hidden])");
      scroller.scrollTop = 0;
      window.changed = new Set();
      new MutationObserver((records) => {
        for (const { target } of records) {
          const element = target instanceof Element ? target : target.parentElement;
          const row = element?.closest(".row");
          // The lengths of running calls count up.
          if (row && !element.closest(".counting")) window.changed.add(row);
        }
      }).observe(scroller, { subtree: true, childList: true, attributes: true, characterData: true });
    });
    const before = await spent();
    const response = await fetch(`${opened.base}/webhooks/elevenlabs/transcription`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(turn),
    });
    assert.equal(response.status, 201);
    await until(opened, (words) => [...document.querySelectorAll(".live-group .about")].some((about) => about.textContent === words), turn.message);
    const cost = (await spent()) - before;
    const changed = await page.evaluate(() => [...window.changed].map((row) => row.querySelector("a").dataset.call));
    assert.deepEqual(changed, [turn.conversation_id]);
    assert.ok(cost < most, `the page's scripts took ${Math.round(cost)} ms`);
  },

  /** An open call that is not loaded is the first row, and none is when another one is opened. */
  async pinned(opened, { conversation, other }) {
    const { page } = opened;
    const links = () => page.locator(".scroll .row a").evaluateAll((links) => links.map((link) => link.dataset.call));
    await page.locator(`.row a[data-call="${conversation}"][aria-current]`).waitFor();
    assert.equal((await links())[0], conversation);
    assert.equal(await page.locator(".group h2").first().innerText(), "Open call");
    const when = await page.locator(".row .when").first().innerText();
    assert.match(when, /, \d/, "its day is named");
    await accessible(opened);
    await page.locator(`.row a[data-call="${other}"]`).click();
    await until(opened, (id) => !document.querySelector(`.row a[data-call="${id}"]`), conversation);
    assert.equal(await page.locator(`.row a[data-call="${other}"]`).getAttribute("aria-current"), "true");
    await page.goBack();
    await page.locator(`.row a[data-call="${conversation}"][aria-current]`).waitFor();
    // Once it is loaded, it is in its place alone.
    await steps.orderedRows(opened, { rows: 7100 });
    const all = await links();
    assert.equal(all.filter((id) => id === conversation).length, 1);
    assert.ok(all.indexOf(conversation) > 6000);
    assert.equal(await page.locator(`.row a[data-call="${conversation}"]`).getAttribute("aria-current"), "true");
  },

  /** A call far down opens, and the list keeps its place. */
  async openFarDown(opened, { conversation, phone }) {
    const { page } = opened;
    const link = page.locator(`.row a[data-call="${conversation}"]`);
    await link.scrollIntoViewIfNeeded();
    const place = await page.evaluate(() => document.querySelector(".scroll").scrollTop);
    assert.ok(place > 10_000, `the list is scrolled to ${place}`);
    await link.click();
    await page.locator(".call-head").waitFor();
    assert.equal(new URL(page.url()).searchParams.get("call"), conversation);
    if (phone) await page.getByRole("link", { name: "Back to the calls" }).click();
    assert.equal(await link.getAttribute("aria-current"), phone ? null : "true");
    const after = await page.evaluate(() => document.querySelector(".scroll").scrollTop);
    assert.ok(Math.abs(after - place) < 400, `the list was scrolled from ${place} to ${after}`);
  },
};
