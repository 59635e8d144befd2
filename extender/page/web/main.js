// SPDX-License-Identifier: Apache-2.0
// Loads the whole once, then follows the stream. The server tells a reader that fell behind to load again.
import { $, List, chart, clock, el, facts, percent, rate, spark } from "./dom.js";
import { Decisions } from "./decisions.js";
import { ExplainPanel } from "./explain.js";
import { NodeMap, share } from "./map.js";
import { NodePanel } from "./node.js";

const AGAIN = 15000, WORKLOADS = 10000, TABLE = 2000, HIDDEN = 30000;
const rows = new Map();
let columns = [], source = null, paused = false, dirty = false, retry = null, hiding = null;

const panel = new NodePanel();
const open = (name) => panel.open(name);
const map = new NodeMap(open);
const decisions = new Decisions(open);
new ExplainPanel(open);

const use = (row) => Math.max(share(row.used_tx, row.cap_tx) ?? 0, share(row.used_rx, row.cap_rx) ?? 0);
const way = (title, cap, used, el_, wide) => ({ title, n: true, wide, value: (row) => share(row[used], row[cap]) ?? -1,
  text: (row) => (row[cap] > 0 ? `${percent(share(row[used], row[cap]))} (${rate(1e3 * row[el_])})` : "–") });
const nodes = new List({
  box: $("nodes-table"), pager: $("nodes-pager"), input: $("nodes-filter"), order: { index: 3, down: true },
  caption: (found, all) => `${found === all ? all : `${found} of ${all}`} nodes; in brackets: elephants`,
  matches: (row, text) => row.name.toLowerCase().includes(text) || row.group.toLowerCase().includes(text),
  columns: [
    { title: "Node", value: (row) => row.name, cell: (row) => el("button", { type: "button", onclick: () => open(row.name) }, row.name) },
    { title: "Group", wide: true, value: (row) => row.group },
    { title: "State", value: (row) => row.state, cell: (row) => (row.collides ? el("span", { class: "hit" }, "mice beside elephants") : row.state) },
    { title: "Busier", n: true, value: use, text: (row) => (row.state === "known" ? percent(use(row)) : "–") },
    way("Sends", "cap_tx", "used_tx", "el_tx"), way("Receives", "cap_rx", "used_rx", "el_rx"),
    { title: "Elephant pods", n: true, wide: true, value: (row) => row.elephants },
    { title: "Mouse pods", n: true, wide: true, value: (row) => row.mice },
  ],
});
const workloads = new List({
  box: $("workloads-table"), pager: $("workloads-pager"), input: $("workloads-filter"), order: { index: 3, down: true },
  caption: (found, all) => `${found === all ? all : `${found} of ${all}`} workloads; rates are those of elephants`,
  matches: (row, text) => `${row.namespace}/${row.workload} ${row.class}`.toLowerCase().includes(text),
  columns: [
    { title: "Workload", value: (row) => `${row.namespace}/${row.workload}` },
    { title: "Class", value: (row) => row.class },
    { title: "Known from", wide: true, value: (row) => row.origin + (row.stated ? ", stated by people" : "") },
    { title: "Sends now", n: true, value: (row) => row.tx, text: (row) => rate(row.tx) },
    { title: "Receives now", n: true, value: (row) => row.rx, text: (row) => rate(row.rx) },
    { title: "One pod", n: true, wide: true, value: (row) => Math.max(row.typical_tx, row.typical_rx), text: (row) => rate(Math.max(row.typical_tx, row.typical_rx)) },
    { title: "Pods", n: true, wide: true, value: (row) => row.pods },
    { title: "Confidence", n: true, value: (row) => row.confidence ?? -1, text: (row) => (row.confidence === null ? "–" : `${row.confidence} %`) },
    { title: "Last hour", wide: true, value: (row) => Math.max(0, ...row.history.filter((value) => value !== null)),
      cell: (row) => { const known = row.history.filter((value) => value !== null);
        return spark(row.history, known.length ? `from ${rate(Math.min(...known))} to ${rate(Math.max(...known))}` : "nothing known"); } },
  ],
});

const decode = (values) => Object.fromEntries(columns.map((column, index) => [column, values[index]]));
const status = (text) => { if ($("status").textContent !== text) $("status").textContent = text; };

function showTotals(totals) {
  const unknown = totals.nodes - (totals.states.known ?? 0);
  $("totals").replaceWith(Object.assign(facts([
    ["Nodes", totals.nodes], ["Not known", unknown], ["Elephant pods", totals.elephants], ["Mouse pods", totals.mice],
    ["Busy links", totals.busy], ["Mice beside elephants", totals.beside, totals.beside ? "bad" : ""], ["On links", totals.collisions, totals.collisions ? "bad" : ""],
  ], "cards"), { id: "totals" }));
}

async function load() {
  const reply = await fetch("api/nodes");
  const whole = await reply.json();
  if (!reply.ok) throw new Error(whole.Error);
  columns = whole.columns;
  rows.clear();
  for (const values of whole.rows) { const row = decode(values); rows.set(row.name, row); }
  map.show(rows); nodes.show([...rows.values()]); showTotals(whole.totals);
  return reply.headers.get("x-cursor");
}

function take(change) {
  let anew = change.gone.length > 0;
  for (const name of change.gone) rows.delete(name);
  const names = [];
  for (const values of change.rows) {
    const row = decode(values), before = rows.get(row.name);
    anew ||= before === undefined || before.group !== row.group;
    rows.set(row.name, row); names.push(row.name);
  }
  map.update(names, anew); showTotals(change.totals); dirty = true;
}

function later() {
  stop();
  retry ??= setTimeout(() => { retry = null; if (!document.hidden) follow(); }, AGAIN);
}

function stop() { source?.close(); source = null; }

async function follow() {
  if (source !== null) return;
  try {
    const cursor = await load();
    source = new EventSource(`api/stream?${new URLSearchParams({ cursor: `${cursor}-0` })}`);
  } catch {
    status("The extender does not answer; trying again");
    later();
    return;
  }
  source.onopen = () => status(paused ? "Paused" : "Live");
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) return;  // the browser connects again by itself
    status("Not live: too many readers, or the extender restarts; loading again from time to time");
    later();
  };
  const on = (name, act) => source.addEventListener(name, (event) => { if (!paused) act(JSON.parse(event.data)); });
  on("nodes", take);
  on("decisions", (told) => decisions.add(told));
  on("reload", () => { load().catch(later); });
}

let dropChart = () => {};

async function more() {
  if (document.hidden || paused) return;
  const get = async (path) => { const reply = await fetch(path); if (!reply.ok) throw new Error(path); return reply.json(); };
  try {
    const [known, gains] = await Promise.all([get("api/workloads"), get("api/gains")]);
    workloads.show(known.workloads);
    showGains(gains);
  } catch { /* the status line says that the extender does not answer */ }
}

function showGains(gains) {
  dropChart();
  const box = el("div", { class: "chart" }), { shadow, totals } = gains;
  const known = gains.pods.filter((value) => value !== null);
  const text = `Pods with mice on links that elephants use to half or more: ${totals.beside} now, on ${totals.collisions} links` +
    `${known.length ? `; in the last hour ${Math.min(...known)} to ${Math.max(...known)}` : ""}. Watched since ${clock(gains.since)}.`;
  const count = (counts) => Object.entries(counts).map(([name, times]) => `${name} ${times}`).join(", ") || "none yet";
  $("gains").replaceChildren(el("p", {}, text), box, shadow === null
    ? el("p", { class: "note" }, "Shadow mode is off: the extender acts, and does not count what it would have done.")
    : facts([["Shadow mode: pods", count(shadow.pods)], ["Collided", count(shadow.collided)],
      ["Avoidable collisions", shadow.avoidable_collisions], ["Waiting for an outcome", shadow.pending]]));
  dropChart = chart(box, gains, [{ title: "pods with mice beside elephants", values: gains.pods, colour: "--hit" }], { text });
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  panel.paused = paused;
  status(paused ? "Paused" : "Live");
  if (!paused) { stop(); decisions.clear(); follow(); more(); }
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(stop, HIDDEN);
  else if (!paused) follow();
});
setInterval(() => { if (dirty && !document.hidden) { dirty = false; nodes.show([...rows.values()]); } }, TABLE);
setInterval(more, WORKLOADS);
follow().then(more);

globalThis.footprintPage = { map, rows, decisions };  // for tests and for curious people
