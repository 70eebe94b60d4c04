// Pictures of the page, and how far two pictures are apart.

import { strict as assert } from "node:assert";
import { readFile, writeFile } from "node:fs/promises";
import { accessible, fits, until } from "./look.mjs";

export const steps = {
  /** Looks at a view, and writes it as a PNG if there is a file for it. `whole` makes the window as high as its content. */
  async view(opened, { path, shows, whole, file }) {
    const { page } = opened;
    await page.goto(opened.base + path);
    await page.locator(shows).first().waitFor();
    await until(opened, () => document.querySelector(".skeleton, .spinner") === null);
    await page.evaluate(() => document.fonts.ready);
    await accessible(opened);
    await fits(opened);
    if (!file) return;
    const size = page.viewportSize();
    const height = await page.evaluate(() => document.querySelector(".top").offsetHeight + (document.querySelector(".page") ?? document.getElementById("main")).scrollHeight);
    if (whole) await page.setViewportSize({ width: size.width, height: Math.max(size.height, height) });
    await writeFile(file, await page.screenshot({ animations: "disabled", caret: "hide" }));
    await page.setViewportSize(size);
  },

  /** Writes what is shown as a PNG, once its fonts are there and the conversation is scrolled to its end. */
  async picture({ page }, { file, last }) {
    const turn = page.locator(".turn .words", { hasText: last });
    await turn.waitFor();
    await turn.scrollIntoViewIfNeeded();
    await page.evaluate(() => document.fonts.ready);
    await writeFile(file, await page.screenshot({ animations: "disabled", caret: "hide" }));
  },

  /** The share of squares of 8 by 8 pixels in which two pictures differ in their mean colour. */
  async difference({ page }, { one, other }) {
    const urls = [];
    for (const file of [one, other]) urls.push(`data:image/png;base64,${(await readFile(file)).toString("base64")}`);
    const blank = await page.context().newPage();
    const found = await blank.evaluate(async (urls) => {
      const SIDE = 8;
      const means = await Promise.all(urls.map(async (url) => {
        const picture = new Image();
        picture.src = url;
        await picture.decode();
        const { naturalWidth: width, naturalHeight: height } = picture;
        const canvas = new OffscreenCanvas(width, height);
        const context = canvas.getContext("2d");
        context.drawImage(picture, 0, 0);
        const { data } = context.getImageData(0, 0, width, height);
        const columns = Math.ceil(width / SIDE);
        const sums = new Float64Array(columns * Math.ceil(height / SIDE) * 3);
        for (let at = 0; at < data.length; at += 4) {
          const pixel = at / 4;
          const square = Math.floor(Math.floor(pixel / width) / SIDE) * columns + Math.floor((pixel % width) / SIDE);
          for (let colour = 0; colour < 3; colour++) sums[square * 3 + colour] += data[at + colour] / SIDE ** 2;
        }
        return { width, height, sums };
      }));
      const [a, b] = means;
      if (a.width !== b.width || a.height !== b.height) return { apart: 1, sizes: means.map((m) => [m.width, m.height]) };
      let apart = 0;
      for (let square = 0; square < a.sums.length; square += 3) {
        if ([0, 1, 2].some((colour) => Math.abs(a.sums[square + colour] - b.sums[square + colour]) > 24)) apart++;
      }
      return { apart: apart / (a.sums.length / 3), sizes: null };
    }, urls);
    await blank.close();
    assert.equal(found.sizes, null, `the pictures have other sizes: ${found.sizes}`);
    return found.apart;
  },
};
