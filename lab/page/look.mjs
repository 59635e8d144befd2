// SPDX-License-Identifier: Apache-2.0
// Looks at the live page in a headless Chromium. node look.mjs MODULES CHROMIUM URL FOLDER [quick|only=PICTURE]
// Leaves: pictures in FOLDER, and findings as one JSON object on stdout. It judges nothing: the test does.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { start } from "./browser.mjs";

const [modules, chromium, url, folder, quick] = process.argv.slice(2);
const axe = readFileSync(join(modules, "node_modules/axe-core/axe.min.js"), "utf8");
const TIMEOUT = 60000;
const found = { problems: [], pictures: [] };

const browser = await start(modules, chromium);

async function visit(name, options, act) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(TIMEOUT);
  const page = await context.newPage();
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) found.problems.push(`${name}: ${message.text()}`); });
  page.on("pageerror", (error) => found.problems.push(`${name}: ${error.message}`));
  page.on("request", (request) => { if (new URL(request.url()).origin !== new URL(url).origin) found.problems.push(`${name}: asked ${request.url()}`); });
  await page.goto(url);
  await page.waitForFunction(() => document.querySelectorAll("#nodes-table tbody tr").length > 0, null, { timeout: TIMEOUT });
  await page.waitForFunction(() => document.querySelector("#status").textContent === "Live", null, { timeout: TIMEOUT });
  await page.waitForFunction(() => document.querySelectorAll("#gains .chart canvas").length > 0, null, { timeout: TIMEOUT });
  found[name] = await act(page);
  await context.close();
}

async function picture(page, name, full = false) {
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: full });
  found.pictures.push(`${name}.png`);
}

async function violations(page) {
  await page.evaluate(axe);
  const { violations: all } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return all.map(({ id, impact, nodes }) => ({ id, impact, where: nodes.slice(0, 3).map(({ html, failureSummary }) => [html.slice(0, 300), failureSummary]) }));
}

/** Milliseconds between frames while the map is panned from end to end. */
async function pan(page) {
  return page.evaluate(() => new Promise((done) => {
    const box = document.querySelector("#map"), gaps = [], FRAMES = 120;
    const most = box.scrollHeight - box.clientHeight;
    let last = null;
    const step = (now) => {
      if (last !== null) gaps.push(now - last);
      last = now;
      box.scrollTop = most * (gaps.length / FRAMES);
      if (gaps.length < FRAMES) requestAnimationFrame(step);
      else { gaps.sort((a, b) => a - b); done({ p50: gaps[60], p95: gaps[114], worst: gaps[119], scrolled: most }); }
    };
    requestAnimationFrame(step);
  }));
}

if (quick?.startsWith("only=")) {  // only=NAME,COUNT: once so many elephant pods are on the page, or after a while
  const [name, count] = quick.slice(5).split(",");
  await visit("only", { colorScheme: "light" }, async (page) => {
    const wanted = (least) => [...footprintPage.rows.values()].reduce((sum, row) => sum + row.elephants, 0) >= least;
    found.awaited = await page.waitForFunction(wanted, Number(count), { timeout: 2 * TIMEOUT }).then(() => true, () => false);
    await page.waitForTimeout(2500);  // the tables follow
    await picture(page, name);
    await picture(page, `${name}-whole`, true);
  });
  await browser.close();
  console.log(JSON.stringify(found));
  process.exit(0);
}

await visit("desktop", { colorScheme: "light" }, async (page) => {
  await picture(page, "light");
  const seen = {
    nodes: await page.evaluate(() => footprintPage.map.order.length),
    painted: await page.evaluate(() => { footprintPage.map.paint(); return footprintPage.map.painted; }),
    heap: await page.evaluate(() => performance.memory.usedJSHeapSize),
  };
  await page.selectOption("#size", "28");
  seen.pan = await pan(page);
  await page.selectOption("#size", "16");
  // The keyboard alone: to the map, along it, into a node, and back.
  await page.focus("#map");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  seen.said = await page.textContent("#map-said");
  seen.picked = await page.evaluate(() => footprintPage.map.order[footprintPage.map.at]);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#node-body .chart canvas").length > 0);
  seen.heading = await page.textContent("#node-heading");
  seen.focused = await page.evaluate(() => document.activeElement.id);
  seen.facts = await page.textContent("#node-body .facts");
  seen.body = await page.textContent("#node-body");
  await picture(page, "node");
  await page.keyboard.press("Escape");
  seen.closed = await page.evaluate(() => document.querySelector("#node").hidden && document.activeElement.id === "map");
  // The mouse: a click on a tile opens that tile's node.
  const place = await page.evaluate(() => {
    const { map } = footprintPage, name = map.order[Math.min(5, map.order.length - 1)], [x, y] = map.places.get(name);
    map.box.scrollTop = 0; document.querySelector("#map").scrollIntoView();
    const box = map.canvas.getBoundingClientRect();
    return { name, x: box.left + x + map.size / 2, y: box.top + y + map.size / 2 };
  });
  await page.mouse.click(place.x, place.y);
  await page.waitForFunction((name) => document.querySelector("#node-heading").textContent === `Node ${name}` &&
    document.querySelectorAll("#node-body .chart canvas").length > 0, place.name);
  seen.clicked = true;
  await page.keyboard.press("Escape");
  await page.fill("#nodes-filter", place.name);
  seen.filtered = await page.locator("#nodes-table tbody tr").count();
  await page.fill("#nodes-filter", "");
  await page.click("#nodes-table th >> nth=0 >> button");
  seen.sorted = await page.getAttribute("#nodes-table th >> nth=0", "aria-sort");
  seen.workloads = await page.locator("#workloads-table tbody tr").count();
  if (quick !== "quick") {
    await page.waitForFunction(() => document.querySelectorAll("#decisions-table tbody tr details").length > 0);
    seen.decisions = await page.textContent("#decisions-table tbody");
    await page.click("#decisions-table tbody tr >> nth=0 >> summary");
    seen.why = await page.textContent("#decisions-table tbody tr >> nth=0");
    // The explanation of a decision: a link, and an address that can be passed on.
    await page.click("#decisions-table tbody tr details[open] a");
    await page.waitForFunction(() => document.querySelectorAll("#explain-body tbody tr").length > 0);
    seen.explained = { heading: await page.textContent("#explain-heading"), focused: await page.evaluate(() => document.activeElement.id),
      body: await page.textContent("#explain-body"), rows: await page.locator("#explain-body tbody tr").count(), address: page.url() };
    await picture(page, "explanation");
    await page.keyboard.press("Escape");
    seen.explained.closed = await page.evaluate(() => document.querySelector("#explain").hidden && !location.hash);
    await page.evaluate(() => { location.hash = "#explain/nowhere/nothing"; });
    await page.waitForFunction(() => document.querySelector("#explain-body").textContent.includes("no such pod"));
    found.problems = found.problems.filter((text) => !text.includes("status of 404"));
    await page.click("#explain-close");
    const [all] = [await page.locator("#decisions-table tbody tr").count()];
    await page.fill("#decisions-filter", "no such workload");
    seen.none = [all, await page.locator("#decisions-table tbody tr").count()];
    await page.fill("#decisions-filter", "");
  }
  await picture(page, "whole", true);
  await page.emulateMedia({ media: "print" });
  await picture(page, "print", true);
  return seen;
});

for (const [name, options] of [["light-axe", { colorScheme: "light" }], ["dark", { colorScheme: "dark" }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }]]) {
  await visit(name, { bypassCSP: true, ...options }, async (page) => {
    if (name !== "light-axe") await picture(page, name);
    if (name === "phone") await picture(page, "phone-whole", true);
    await page.evaluate(() => footprintPage.map.open(footprintPage.map.order[0]));
    await page.waitForFunction(() => document.querySelectorAll("#node-body .chart canvas").length > 0);
    if (name === "dark") await picture(page, "dark-node");
    if (quick !== "quick") {
      const where = await page.waitForFunction(() => [...footprintPage.decisions.byNumber.values()].at(-1));
      const { namespace, pod } = await where.jsonValue();
      await page.evaluate(([a, b]) => { location.hash = `#explain/${a}/${b}`; }, [namespace, pod]);
      await page.waitForFunction(() => document.querySelectorAll("#explain-body tbody tr").length > 0);
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    return { violations: await violations(page), wide };
  });
}

await browser.close();
console.log(JSON.stringify(found));
