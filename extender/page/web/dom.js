// SPDX-License-Identifier: Apache-2.0
// Elements, numbers and tables. Whatever comes from the cluster becomes a text node, never markup.

export const $ = (id) => document.getElementById(id);

/** An element. Strings among the children become text nodes. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined).map(
    (child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return made;
}

const UNITS = [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"]];

/** bit/s for people. */
export function rate(bits) {
  for (const [size, unit] of UNITS) if (bits >= size) return `${Number((bits / size).toPrecision(3))} ${unit}`;
  return bits > 0 ? "< 1 kbit/s" : "0";
}

export const percent = (share) => (share === null || share === undefined ? "–" : `${Math.round(100 * share)} %`);
export const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString();

/** A dl of terms and values. */
export function facts(pairs, kind = "facts") {
  const list = el("dl", { class: kind });
  for (const [term, value, cls] of pairs) {
    if (value === null || value === undefined) continue;
    const two = [el("dt", {}, term), el("dd", {}, value)];
    if (kind === "cards") list.append(el("div", { class: cls || "" }, ...two));
    else list.append(...two);
  }
  return list;
}

/** A table that sorts by its heads, filters and turns pages. columns: {title, value, text?, cell?, n?, wide?}. */
export class List {
  constructor({ box, pager, input, caption, columns, order, matches, size = 50 }) {
    Object.assign(this, { box, pager, columns, order, matches, size, caption });
    this.rows = []; this.page = 0; this.filter = "";
    this.input = input;
    input.addEventListener("input", () => { this.filter = input.value.trim().toLowerCase(); this.page = 0; this.draw(); });
    this.heads = columns.map((column, index) => el("th", { scope: "col", class: classes(column) },
      el("button", { type: "button", onclick: () => this.sort(index) }, column.title)));
    this.body = el("tbody");
    this.count = el("caption");
    box.replaceChildren(el("table", {}, this.count, el("thead", {}, el("tr", {}, ...this.heads)), this.body));
    this.where = el("span", { role: "status" });
    this.back = el("button", { type: "button", onclick: () => this.turn(-1) }, "Previous");
    this.on = el("button", { type: "button", onclick: () => this.turn(1) }, "Next");
    pager.replaceChildren(this.back, this.where, this.on);
  }

  sort(index) {
    this.order = this.order.index === index ? { index, down: !this.order.down } : { index, down: !!this.columns[index].n };
    this.page = 0;
    this.draw();
  }

  turn(by) { this.page += by; this.draw(); }

  show(rows) { this.rows = rows; this.draw(); }

  draw() {
    const { value } = this.columns[this.order.index], sign = this.order.down ? -1 : 1;
    const found = this.filter ? this.rows.filter((row) => this.matches(row, this.filter)) : this.rows.slice();
    found.sort((a, b) => { const x = value(a), y = value(b); return sign * (x < y ? -1 : x > y ? 1 : 0); });
    const pages = Math.max(1, Math.ceil(found.length / this.size));
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    this.heads.forEach((head, index) => head.setAttribute("aria-sort",
      index !== this.order.index ? "none" : this.order.down ? "descending" : "ascending"));
    const shown = found.slice(this.page * this.size, (this.page + 1) * this.size);
    const focused = this.body.contains(document.activeElement) ? document.activeElement.textContent : null;
    this.body.replaceChildren(...shown.map((row) => el("tr", {}, ...this.columns.map((column, index) => {
      const content = column.cell ? column.cell(row) : column.text ? column.text(row) : value === column.value ? value(row) : column.value(row);
      return el(index ? "td" : "td", { class: classes(column) }, content);
    }))));
    if (focused !== null) [...this.body.querySelectorAll("button")].find((one) => one.textContent === focused)?.focus();
    this.count.textContent = this.caption(found.length, this.rows.length);
    this.where.textContent = `page ${this.page + 1} of ${pages}`;
    this.back.disabled = this.page === 0;
    this.on.disabled = this.page >= pages - 1;
    this.pager.hidden = pages < 2;
  }
}

const classes = (column) => [column.n ? "n" : "", column.wide ? "wide" : ""].join(" ").trim() || null;

/** A line of values, gaps where nothing is known. */
export function spark(values, text) {
  const width = 120, height = 24, known = values.filter((value) => value !== null);
  const most = Math.max(...known, 1);
  const picture = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": text });
  let points = [];
  const flush = () => { if (points.length) picture.append(svg("polyline", { points: points.join(" ") })); points = []; };
  values.forEach((value, index) => {
    if (value === null) { flush(); return; }
    const x = (index / Math.max(values.length - 1, 1)) * width, y = height - 2 - (value / most) * (height - 4);
    points.push(`${x.toFixed(1)},${y.toFixed(1)}`);
    if (values[index + 1] === null || index === values.length - 1) points.push(`${(x + 1).toFixed(1)},${y.toFixed(1)}`);
  });
  flush();
  return picture;
}

function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const charts = new Set();
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A chart of the last hour. lines: {title, values, colour, dash}; values at the ends of steps. */
export function chart(box, when, lines, { unit = "", top = null, text }) {
  const count = lines[0].values.length;
  const times = Array.from({ length: count }, (_, index) => when.last_step_at - (count - 1 - index) * when.step_seconds);
  const axis = { stroke: () => css("--soft"), grid: { stroke: () => css("--line"), width: 1 }, ticks: { stroke: () => css("--line") } };
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", text);
  const options = {
    width: Math.max(box.clientWidth, 260), height: 200, legend: { show: false }, cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, top ?? Math.max(high ?? 1, 1)] } },
    axes: [axis, { ...axis, size: 60, values: (_, ticks) => ticks.map((tick) => `${tick}${unit}`) }],
    series: [{}, ...lines.map(({ title, colour, dash }) => ({
      label: title, stroke: () => css(colour), width: 2, dash, spanGaps: false, points: { show: true, size: 4 } }))],
  };
  const made = new uPlot(options, [times, ...lines.map(({ values }) => values)], box);
  charts.add([made, box]);
  return () => { for (const one of charts) if (one[0] === made) charts.delete(one); made.destroy(); };
}

addEventListener("resize", () => { for (const [made, box] of charts) made.setSize({ width: Math.max(box.clientWidth, 260), height: 200 }); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const [made] of charts) made.redraw(); });

export { css };
