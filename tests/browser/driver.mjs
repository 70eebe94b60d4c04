// Drives one Chromium for all tests of the page. Each line of standard input asks for a step on a page that has a name:
// {"id", "page", "step", "args"}; each line of standard output answers one: {"id", "value"} or {"id", "error"}.
// Ends, and the browser with it, when standard input does.
//
// Whatever a step does, it fails when the page has written an error to its console, asked anything of another host, or
// thrown.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { steps as reading } from "./reading.mjs";
import { steps as finding } from "./finding.mjs";
import { steps as following } from "./following.mjs";
import { steps as states } from "./states.mjs";
import { steps as docs } from "./docs.mjs";
import { steps as many } from "./many.mjs";
import { steps as pictures } from "./pictures.mjs";

const [, , modules, executablePath] = process.argv;
const { chromium } = createRequire(`${modules}/`)("playwright-core");

const steps = { ...reading, ...finding, ...following, ...states, ...docs, ...many, ...pictures };

const browser = await chromium.launch({
  executablePath,
  timeout: 180_000,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});

/** Pages by name, each in a profile of its own. */
const pages = new Map();

async function open({ url, dark, phone, zone, now, size, ...args }) {
  const context = await browser.newContext({
    viewport: size ?? (phone ? { width: 390, height: 844 } : { width: 1440, height: 900 }),
    isMobile: Boolean(phone),
    hasTouch: Boolean(phone),
    colorScheme: dark ? "dark" : "light",
    locale: "en-GB",
    timezoneId: zone ?? "America/Chicago",
    reducedMotion: "reduce",
  });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  const faults = [];
  const opened = { page, faults, base: new URL(url).origin, tolerated: args.tolerates ? new RegExp(args.tolerates) : null };
  page.on("console", (message) => {
    if (message.type() === "error" && !opened.tolerated?.test(message.text())) faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`page: ${error.stack}`));
  context.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== opened.base && protocol !== "data:" && protocol !== "blob:") faults.push(`outside: ${request.url()}`);
  });
  // The page's clock stands still there; its timers go on.
  if (now) await page.clock.setFixedTime(now);
  await page.goto(url);
  return opened;
}

async function run({ page: name, step, args }) {
  if (step === "open") {
    pages.set(name, await open(args));
    return check(pages.get(name));
  }
  const opened = pages.get(name);
  if (step === "close") return opened.page.context().close();
  if (!steps[step]) throw new Error(`there is no step ${step}`);
  const value = await steps[step](opened, args);
  check(opened);
  return value;
}

function check({ faults }) {
  if (faults.length > 0) throw new Error(faults.splice(0).join("\n"));
}

const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const asked = JSON.parse(line);
    try {
      answer({ id: asked.id, value: (await run(asked)) ?? null });
    } catch (error) {
      const page = pages.get(asked.page)?.page;
      const text = await page?.locator("body").innerText({ timeout: 1000 }).catch(() => "");
      answer({ id: asked.id, error: `${asked.step}: ${error.stack}\nconsole and requests: ${pages.get(asked.page)?.faults.join("\n")}\nThe page reads:\n${text}` });
    }
  })
  .on("close", async () => {
    await browser.close();
    process.exit(0);
  });
