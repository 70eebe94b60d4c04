// Steps of the API's documentation, Swagger UI: signing in as its readers do, and trying an operation.

import { strict as assert } from "node:assert";

/** An operation, unfolded. */
async function operation({ page }, id) {
  const block = page.locator(`[id$="-${id}"]`);
  if (await block.locator(".opblock-body").count() === 0) await block.locator(".opblock-summary-control").click();
  await block.locator(".opblock-body").waitFor();
  return block;
}

export const steps = {
  /** Tries an operation without parameters of its own; says its answer's status and body. */
  async tryOut(opened, { id, status }) {
    const block = await operation(opened, id);
    // A browser writes each refused request to its console.
    opened.tolerated = status === 401 ? /status of 401/ : null;
    if (await block.getByRole("button", { name: "Try it out" }).count() > 0) {
      await block.getByRole("button", { name: "Try it out" }).click();
    }
    const answered = opened.page.waitForResponse((response) => new URL(response.url()).pathname !== "/docs");
    await block.getByRole("button", { name: "Execute" }).click();
    const answer = await answered;
    const shown = block.locator(".live-responses-table .response-col_status");
    await shown.getByText(String(answer.status())).waitFor();
    const body = await answer.text();
    opened.tolerated = null;
    assert.equal(answer.status(), status, body);
    return body;
  },

  /** The page is dark, and what it shows is light on it. */
  async darkDocs({ page }) {
    await page.locator(".opblock").first().waitFor();
    const [background, filter] = await page.evaluate(() => [getComputedStyle(document.documentElement).backgroundColor, getComputedStyle(document.getElementById("ui")).filter]);
    assert.ok(background.match(/\d+/g).slice(0, 3).every((part) => Number(part) < 64), background);
    assert.ok(filter.includes("invert"), filter);
  },

  /** The link above the operations leads to the calls. */
  async backToCalls({ page }) {
    await page.locator("a.back").click();
    await page.locator(".row").first().waitFor();
  },

  /** Gives the token under Authorize, as the scheme of this name. */
  async authorize({ page }, { scheme, token }) {
    await page.getByRole("button", { name: "Authorize", exact: true }).click();
    const dialog = page.locator(".modal-ux");
    const form = dialog.locator(".auth-container", { hasText: `${scheme}  (` });
    await form.locator("input").fill(token);
    await form.getByRole("button", { name: "Apply credentials" }).click();
    await form.getByText("Authorized").waitFor();
    await dialog.getByRole("button", { name: "Close" }).last().click();
    await dialog.waitFor({ state: "hidden" });
  },

  /** Takes it back. */
  async logOut({ page }, { scheme }) {
    await page.getByRole("button", { name: "Authorize", exact: true }).click();
    const dialog = page.locator(".modal-ux");
    await dialog.locator(".auth-container", { hasText: `${scheme}  (` }).getByRole("button", { name: "Remove authorization" }).click();
    await dialog.getByRole("button", { name: "Close" }).last().click();
    await dialog.waitFor({ state: "hidden" });
  },
};
