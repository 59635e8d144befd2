// SPDX-License-Identifier: Apache-2.0
// Decisions as they happen, newest first.
import { $, clock, el } from "./dom.js";
import { explainLink } from "./explain.js";

const SHOWN = 100;

export class Decisions {
  constructor(open) {
    this.open = open; this.byNumber = new Map(); this.made = new Map(); this.filter = ""; this.shadow = false; this.lost = 0;
    $("decisions-filter").addEventListener("input", (event) => { this.filter = event.target.value.trim().toLowerCase(); this.draw(); });
    const heads = ["Time", "Pod", "Demand", "Went to", "Why"];
    this.body = el("tbody");
    this.caption = el("caption");
    $("decisions-table").replaceChildren(el("table", {}, this.caption,
      el("thead", {}, el("tr", {}, ...heads.map((title) => el("th", { scope: "col" }, title)))), this.body));
    this.draw();
  }

  clear() { this.byNumber.clear(); this.made.clear(); }

  add({ decisions = [], shadow = false, lost_details = 0 }) {
    this.shadow = shadow; this.lost = lost_details;
    for (const one of decisions) {
      for (const [number, other] of this.byNumber) {  // a pod's later attempt takes the place of the one before
        if (number < one.number && other.pod === one.pod && other.namespace === one.namespace) this.byNumber.delete(number);
      }
      this.byNumber.set(one.number, one);
      const before = this.made.get(one.number);
      this.made.set(one.number, this.row(one, before?.querySelector("details")?.open));
    }
    const numbers = [...this.byNumber.keys()].sort((a, b) => b - a);
    for (const number of numbers.slice(256)) this.byNumber.delete(number);
    for (const number of this.made.keys()) if (!this.byNumber.has(number)) this.made.delete(number);
    this.draw();
  }

  draw() {
    const found = [...this.byNumber.values()].sort((a, b) => b.number - a.number)
      .filter((one) => !this.filter || `${one.namespace}/${one.workload}`.toLowerCase().includes(this.filter));
    const rows = found.slice(0, SHOWN).map((one) => this.made.get(one.number));
    const old = [...this.body.children];
    if (rows.length !== old.length || rows.some((row, index) => row !== old[index])) this.body.replaceChildren(...rows);
    this.caption.textContent = found.length ? `${rows.length} of the last ${this.byNumber.size} decisions` : "No decision yet";
    $("decisions-note").textContent = [
      this.shadow ? "Shadow mode: these say what acting would have done; no answer was changed." : "",
      this.lost ? `${this.lost} decisions came faster than their reasons were read; they show numbers only.` : "",
    ].join(" ").trim();
  }

  row(one, opened) {
    const node = one.bound ?? one.committed;
    const went = node ? el("button", { type: "button", onclick: () => this.open(node) }, node) : "not known yet";
    const why = el("details", { open: !!opened }, el("summary", {}, `${one.rejected} of ${one.candidates} rejected`), ...this.reasons(one));
    return el("tr", {}, el("td", {}, clock(one.at)), el("td", {}, `${one.namespace}/${one.pod}`, el("br"), el("small", {}, one.workload)),
      el("td", {}, one.demand), el("td", {}, went, node && !one.bound ? " (expected)" : ""), el("td", {}, why));
  }

  reasons(one) {
    const list = (title, items) => (items.length ? [el("strong", {}, title), el("ul", {}, ...items.map((item) => el("li", {}, item)))] : []);
    const best = (one.best ?? []).map(({ node, cost }) => `${node}: ${cost === null ? "nothing is known of it" : `cost ${cost}`}`);
    const not = (one.why_not ?? []).map(({ node, why }) => `${node}: ${why}`);
    const more = one.rejected - not.length;
    const scores = Object.entries(one.scores ?? {}).reverse().map(([score, times]) => `score ${score}: ${times} ${times === 1 ? "node" : "nodes"}`);
    return [
      el("p", {}, `Placement ${one.placement}; demand ${one.origin}.`), ...list("Best", best), ...list("Scores", scores),
      ...list("Rejected", more > 0 && not.length ? [...not, `and ${more} more`] : not),
      el("p", {}, el("a", { href: explainLink(one.namespace, one.pod) }, "Explanation"), " of what it would be now, or ",
        el("code", {}, `kubectl footprint explain -n ${one.namespace} ${one.pod}`)),
    ];
  }
}
