// SPDX-License-Identifier: Apache-2.0
// What the live page keeps in memory while a cluster is replayed in fast motion (lab.bench.extender.page_replay).
// node memory.mjs MODULES CHROMIUM URL WARM SECONDS
// Leaves: the page's memory after WARM seconds of the replay and after SECONDS more, as JSON on stdout. The page's own
// timers run by the replay's seconds. Garbage is collected before memory is read.
import { start } from "./browser.mjs";

const [modules, chromium, url, warm, seconds] = process.argv.slice(2);
const STEP = 2, PAUSE = 10;
const found = { problems: [], readings: [] };

const browser = await start(modules, chromium, ["--js-flags=--expose-gc"]);
const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage();
page.setDefaultTimeout(60000);
page.on("pageerror", (error) => found.problems.push(error.message));
page.on("console", (message) => { if (message.type() === "error") found.problems.push(message.text()); });
await page.addInitScript(() => {
  globalThis.replay = { timers: [], events: {} };
  globalThis.setInterval = (act, every) => { replay.timers.push({ act, every, due: every }); return 0; };
  const listen = EventSource.prototype.addEventListener;
  EventSource.prototype.addEventListener = function count(name, act) {
    return listen.call(this, name, (event) => { replay.events[name] = (replay.events[name] ?? 0) + 1; act(event); });
  };
});
await page.goto(`${url}page/`);
await page.waitForFunction(() => document.querySelectorAll("#nodes-table tbody tr").length > 0 && document.querySelector("#status").textContent === "Live");
await page.evaluate(() => footprintPage.map.open(footprintPage.map.order[0]));
const devtools = await page.context().newCDPSession(page);

let at = 0;
async function play(until) {
  while (at < until) {
    const reply = await fetch(`${url}page/replay?seconds=${STEP}`);
    if (!reply.ok) throw new Error(await reply.text());
    found.replayed = await reply.json();
    at += STEP;
    await page.evaluate(async ([now, rest]) => {
      for (const timer of replay.timers) {
        while (timer.due <= now) { timer.due += timer.every; await timer.act(); }
      }
      if (rest) await new Promise((done) => { requestAnimationFrame(() => setTimeout(done)); });
    }, [1000 * at, at % PAUSE === 0]);
  }
}

async function read() {
  await page.waitForLoadState("networkidle").catch(() => {});
  for (let round = 0; round < 3; round += 1) {
    await devtools.send("HeapProfiler.collectGarbage");
    await page.evaluate(() => new Promise((done) => { setTimeout(done, 100); }));
  }
  const { usedSize } = await devtools.send("Runtime.getHeapUsage");
  const { nodes, jsEventListeners } = await devtools.send("Memory.getDOMCounters");
  const shown = await page.evaluate(() => ({ tiles: footprintPage.map.order.length, decisions: footprintPage.decisions.byNumber.size }));
  found.readings.push({ seconds: at, heap: usedSize, elements: nodes, listeners: jsEventListeners, ...shown });
}

await play(Number(warm));
await read();
await play(Number(warm) + Number(seconds));
await read();
found.events = await page.evaluate(() => replay.events);
await browser.close();
console.log(JSON.stringify(found));
