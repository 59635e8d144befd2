// SPDX-License-Identifier: Apache-2.0
// The verdict on one pod as it would be now. Its address is the page's, with the pod behind the #.
import { $, el, facts } from "./dom.js";

const MARK = "#explain/";
const TERMS = ["waiting", "harm", "slowdown", "room", "total"];

export const explainLink = (namespace, pod) => MARK + [namespace, pod].map(encodeURIComponent).join("/");

function named(hash) {
  if (!hash.startsWith(MARK)) return null;
  try {
    const [namespace, pod, ...more] = hash.slice(MARK.length).split("/").map(decodeURIComponent);
    return namespace && pod && !more.length ? { namespace, pod } : null;
  } catch { return null; }  // no such encoding
}

export class ExplainPanel {
  constructor(open) {
    this.open = open; this.asked = 0; this.back = null;
    $("explain-close").addEventListener("click", () => this.close());
    $("explain-again").addEventListener("click", () => this.load());
    addEventListener("keydown", (event) => { if (event.key === "Escape" && !$("explain").hidden && $("node").hidden) this.close(); });
    addEventListener("hashchange", () => this.follow());
    this.follow();
  }

  follow() {
    const pod = named(location.hash);
    if (pod === null) { $("explain").hidden = true; return; }
    this.pod = pod; this.back = document.activeElement;
    $("explain").hidden = false;
    $("explain-heading").textContent = `Explanation of ${pod.namespace}/${pod.pod}`;
    $("explain-body").replaceChildren(el("p", {}, "Loading"));
    $("explain").scrollIntoView({ block: "start" });
    $("explain-heading").focus({ preventScroll: true });
    this.load();
  }

  close() {
    history.replaceState(null, "", location.pathname + location.search);
    $("explain").hidden = true;
    this.back?.focus?.();
  }

  async load() {
    const asked = ++this.asked, problem = (text) => $("explain-body").replaceChildren(el("p", { class: "note" }, text));
    try {
      const reply = await fetch(`api/explain?${new URLSearchParams(this.pod)}`), told = await reply.json();
      if (asked !== this.asked) return;
      if (reply.ok) this.show(told);
      else problem(told.Error);
    } catch { if (asked === this.asked) problem("The extender does not answer. Again asks it once more."); }
  }

  show(told) {
    const more = told.passing + told.rejected - told.nodes.length;
    $("explain-body").replaceChildren(
      el("p", {}, "What filter and scores would be now, over all nodes, as if the pod had not been placed yet."),
      facts([
        ["Workload", told.workload], ["Demand", told.demand],
        ["Placement", told.exempt ? `${told.placement}: ${told.exempt}` : told.placement],
        ["Runs on", told.node], ["TrafficFootprint", told.record && `${told.record.name}: ${told.record.status ?? "no status yet"}`],
        ["Committed to", told.committed_to], ["Links without mice", told.scarce ? "scarce: mice are kept together" : null],
        ["Not understood", told.problems.length ? told.problems.join("; ") : null],
        ["Nodes", `${told.passing} pass, ${told.rejected} are rejected`],
        ["Scores", Object.entries(told.scores).sort(([a], [b]) => b - a).map(([score, times]) => `${score}: ${times}`).join(", ") || null],
      ]),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Nodes of the explanation" }, el("table", {},
        el("caption", {}, `Best first, costs in service times${more ? `; ${more} nodes are left out` : ""}`),
        el("thead", {}, el("tr", {}, ...["Node", "Score", ...TERMS, "Why"].map((title) => el("th", { scope: "col", class: TERMS.includes(title) || title === "Score" ? "n" : null }, title)))),
        el("tbody", {}, ...told.nodes.map((node) => this.row(node))))),
    );
  }

  row(node) {
    return el("tr", {}, el("td", {}, el("button", { type: "button", onclick: () => this.open(node.node) }, node.node)),
      el("td", { class: "n" }, node.passes ? node.score : "rejected"),
      ...TERMS.map((term) => el("td", { class: "n" }, node.cost ? node.cost[term].toFixed(2) : "–")), el("td", {}, node.why));
  }
}
