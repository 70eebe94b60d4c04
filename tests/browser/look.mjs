// What steps have in common: looking at the page as a reader or a reader's tool does.

import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const axe = readFileSync(join(process.argv[2], "node_modules/axe-core/axe.min.js"), "utf8");

/** Fails on anything that axe finds, once nothing moves any more. */
export async function accessible({ page }) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations", "incomplete"] }));
  const told = found.violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n  ")}`);
  assert.equal(told.join("\n"), "", "axe finds nothing");
}

/** Fails when something sticks out at the side. */
export async function fits({ page }) {
  const wide = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    return [...document.querySelectorAll("body *")]
      .filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > width + 0.5 && !e.closest(".unseen, pre, .table, .skip"))
      .map((e) => `${e.tagName}.${e.className} ${Math.round(e.getBoundingClientRect().right)} > ${width}`);
  });
  assert.deepEqual(wide, []);
}

/** Waits until a function of the page gives something true. */
export function until({ page }, condition, argument) {
  return page.waitForFunction(condition, argument);
}

/** The texts of what fits a selector, in order, of what is shown, be it in sight or further down. */
export function texts({ page }, selector) {
  return page.locator(selector).evaluateAll((elements) => elements.filter((e) => e.checkVisibility()).map((e) => e.textContent.trim()));
}

/** Waits until the texts of what fits a selector are these. */
export async function see({ page }, selector, wanted) {
  try {
    await page.waitForFunction(([selector, wanted]) => {
      const shown = [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility()).map((e) => e.textContent.trim());
      return JSON.stringify(shown) === JSON.stringify(wanted);
    }, [selector, wanted]);
  } catch {
    assert.deepEqual(await texts({ page }, selector), wanted, selector);
  }
}
