// SPDX-License-Identifier: Apache-2.0
// One node: its link over the last hour, where its figures come from, its pods.
import { $, chart, clock, el, facts, percent, rate } from "./dom.js";

const REFRESH = 10000;

export class NodePanel {
  constructor() {
    this.name = null; this.drop = () => {};
    $("node-close").addEventListener("click", () => this.close());
    addEventListener("keydown", (event) => { if (event.key === "Escape" && this.name !== null) this.close(); });
    setInterval(() => { if (this.name !== null && !document.hidden && !this.paused) this.load(); }, REFRESH);
  }

  async open(name) {
    this.name = name; this.back = document.activeElement;
    $("node").hidden = false;
    $("node-heading").textContent = `Node ${name}`;
    $("node-body").replaceChildren(el("p", {}, "Loading"));
    await this.load();
    $("node-heading").focus({ preventScroll: true });
    $("node").scrollIntoView({ block: "start" });
  }

  close() {
    this.name = null; this.drop(); this.drop = () => {};
    $("node").hidden = true;
    this.back?.focus?.();
  }

  async load() {
    const name = this.name;
    try {
      const reply = await fetch(`api/node?${new URLSearchParams({ name })}`);
      const node = await reply.json();
      if (this.name !== name) return;
      if (reply.ok) this.show(node);
      else $("node-body").replaceChildren(el("p", { class: "note" }, node.Error));
    } catch { /* the next round tries again */ }
  }

  show(node) {
    this.drop();
    const box = el("div", { class: "chart" }), { history } = node;
    const [, , , captx, caprx, usedtx, usedrx, eltx, elrx] = node.row;
    $("node-body").replaceChildren(
      facts([
        ["State", node.state === "known" ? "known" : `${node.state}: ${node.why}`], ["Group", node.group || "none"],
        ["Link", node.load || null],
        ["Sends", `${rate(1e3 * usedtx)} of ${rate(1e3 * captx)}, elephants ${rate(1e3 * eltx)}`],
        ["Receives", `${rate(1e3 * usedrx)} of ${rate(1e3 * caprx)}, elephants ${rate(1e3 * elrx)}`],
        ["Capacity", node.capacity_by ? `${node.capacity_by}${node.capacity_by === "estimated" ? `, ${percent(node.sure)} sure` : ""}` : "not said by whom"],
        ["Full", node.full.length ? node.full.join(", ") : null],
        ["Source", node.source ?? "none"], ["Coverage", percent(node.coverage)],
        ["Health", node.source === undefined ? "not known" : node.health.length ? node.health.join(", ") : "nothing lost"],
        ["Predicted", node.predicted ? `${node.predicted} pods count by prediction` : null],
        ["Mice beside elephants", node.collides ? "yes" : "no"],
      ]),
      el("h3", {}, "The link over the last hour"),
      el("p", { class: "legend" }, legend(history)), box,
      el("h3", {}, `Pods (${node.pods.length})`), pods(node),
      ...(node.unmeasured.length ? [el("p", { class: "note" }, `Not measured yet: ${node.unmeasured.slice(0, 20).map((pod) => `${pod.namespace}/${pod.name}`).join(", ")}`)] : []),
    );
    const line = (title, values, colour, dash) => ({ title, values: values.map((value) => (value === null ? null : 100 * value)), colour, dash });
    this.drop = chart(box, history, [
      line("sends", history.used_tx, "--all"), line("receives", history.used_rx, "--all", [6, 4]),
      line("elephants send", history.el_tx, "--el"), line("elephants receive", history.el_rx, "--el", [6, 4]),
    ], { unit: " %", top: 100, text: legend(history) });
  }
}

function legend(history) {
  const known = history.used_tx.filter((value) => value !== null).length, all = history.used_tx.length;
  const most = (values) => percent(values.reduce((a, b) => (b === null ? a : Math.max(a ?? 0, b)), null));
  return `Share of the link. Solid: sends, dashed: receives. Blue: all, orange: elephants. Highest: sends ${most(history.used_tx)}, ` +
    `receives ${most(history.used_rx)}, elephants send ${most(history.el_tx)}, receive ${most(history.el_rx)}. ` +
    `${known} of ${all} steps are known; this extender watches since ${clock(history.since)}.`;
}

function pods(node) {
  if (!node.pods.length) return el("p", { class: "note" }, "No pod is measured here.");
  const head = (title, n, wide) => el("th", { scope: "col", class: [n ? "n" : "", wide ? "wide" : ""].join(" ").trim() || null }, title);
  const row = (pod) => el("tr", {},
    el("td", {}, `${pod.namespace}/${pod.name}`), el("td", { class: "wide" }, pod.workload), el("td", {}, pod.class),
    el("td", { class: "n" }, rate(pod.tx)), el("td", { class: "n" }, rate(pod.rx)),
    el("td", { class: "n wide" }, pod.flows), el("td", { class: "n wide" }, pod.new_flows));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Pods of the node" }, el("table", {},
    el("caption", {}, `Busiest first${node.left_out ? `; ${node.left_out} small ones are left out of the annotation` : ""}`),
    el("thead", {}, el("tr", {}, head("Pod"), head("Workload", false, true), head("Class"), head("Sends", true), head("Receives", true),
      head("Elephant flows", true, true), head("New flows/s", true, true))),
    el("tbody", {}, ...node.pods.slice(0, 300).map(row))));
}
