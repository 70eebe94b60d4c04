// Steps of following a call while it is spoken, also through a death of the service.

import { strict as assert } from "node:assert";
import { accessible, fits, see, texts, until } from "./look.mjs";

export const steps = {
  /** The page follows. */
  async live(opened) {
    await until(opened, () => document.getElementById("connection").dataset.state === "live");
  },

  async lost(opened) {
    await until(opened, () => document.getElementById("connection").dataset.state === "lost");
  },

  /** After a while the reader is told what is the matter, and keeps what was shown. */
  async told(opened, { first }) {
    await opened.page.getByRole("alert").getByText("cannot be reached").waitFor();
    assert.deepEqual((await texts(opened, ".turn .words")).slice(0, first.length), first);
    await accessible(opened);
  },

  /** Exactly these words, in this order, each once. */
  async heard(opened, { words }) {
    await see(opened, ".turn .words", words);
  },

  /** The newest turn is in sight. */
  async atEnd(opened, { last }) {
    await until(opened, (last) => {
      const words = [...document.querySelectorAll(".turn .words")].at(-1);
      if (words?.textContent !== last) return false;
      const frame = document.getElementById("turns").getBoundingClientRect();
      return words.getBoundingClientRect().bottom <= frame.bottom + 1;
    }, last);
  },

  /** Scrolls up to read; what comes is then not scrolled to. */
  async readAbove(opened) {
    await until(opened, async () => {
      const turns = document.getElementById("turns");
      turns.scrollTop = 0;
      // The page hears of it in the next frame.
      for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame);
      return turns.scrollTop === 0;
    });
  },

  async newer(opened, { says }) {
    await see(opened, ".newer button", [says]);
    assert.equal(await opened.page.evaluate(() => document.getElementById("turns").scrollTop), 0, "the reader's place is kept");
    await accessible(opened);
    await opened.page.getByRole("button", { name: says }).click();
    await opened.page.locator(".newer").waitFor({ state: "hidden" });
  },

  /** A live call's row shows its last words. */
  async lastWords(opened, { name, words }) {
    await until(opened, ([name, words]) => {
      const row = [...document.querySelectorAll(".live-group .row")].find((row) => row.querySelector("bdi").textContent === name);
      return row?.querySelector(".about").textContent === words;
    }, [name, words]);
  },

  /** The alerts that mark a call in the list, in its header, and at its turns by their numbers. */
  async alerted(opened, { conversation, alerts, turns }) {
    await see(opened, `.row a[data-call="${conversation}"] .chip.alert`, alerts);
    await see(opened, ".call-head .chip.alert", alerts);
    const marked = () => Object.fromEntries([...document.querySelectorAll(".turn")].filter((turn) => turn.querySelector(".chip.alert"))
      .map((turn) => [turn.id, [...turn.querySelectorAll(".chip.alert")].map((chip) => chip.textContent)]));
    assert.deepEqual(await opened.page.evaluate(marked), turns);
    await accessible(opened);
    await fits(opened);
  },

  /** Screen readers are told of an alert. */
  async announced(opened, { says }) {
    await until(opened, (says) => document.getElementById("announcement").textContent === says, says);
  },

  /** The badge of an alert leads to its turn. */
  async openAlert(opened, { name, turn }) {
    await opened.page.locator(".call-head").getByRole("link", { name }).click();
    await until(opened, (id) => document.getElementById(id)?.classList.contains("pointed"), `turn-${turn}`);
  },

  async ended(opened, { says }) {
    await opened.page.locator(".ended", { hasText: says }).waitFor();
    await until(opened, () => document.querySelector(".live-group") === null);
    await accessible(opened);
  },

  async erased(opened) {
    await opened.page.getByText("The call was erased").waitFor();
    await until(opened, () => document.querySelectorAll(".row").length === 0);
  },
};
