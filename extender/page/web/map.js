// SPDX-License-Identifier: Apache-2.0
// The map: one canvas as large as all tiles, which the browser scrolls by itself. So panning runs no code of ours.
import { $, css, percent } from "./dom.js";

const GAP = 2, HEAD = 20, EDGE = 6, MAX_PIXELS = 12e6, NAMED = 48;
const FITTING = [[60, 56], [600, 28], [Infinity, 16]];  // of so many nodes at most, a tile is so wide
const bars = (row) => [[row.cap_tx, row.used_tx, row.el_tx], [row.cap_rx, row.used_rx, row.el_rx]];
export const share = (part, whole) => (whole > 0 ? Math.min(part / whole, 1) : null);

/** A node in a sentence. */
export function say(row) {
  const group = row.group ? `, group ${row.group}` : "";
  if (row.state !== "known") return `${row.name}${group}: ${row.state}`;
  const way = (name, cap, used, el) => `${name} ${percent(share(used, cap))}, elephants ${percent(share(el, cap))}`;
  const pods = `${row.elephants} elephant pods, ${row.mice} mouse pods`;
  const hit = row.collides ? ", mice beside elephants" : "";
  return `${row.name}${group}: ${way("sends", row.cap_tx, row.used_tx, row.el_tx)}; ` +
    `${way("receives", row.cap_rx, row.used_rx, row.el_rx)}; ${pods}${hit}`;
}

export class NodeMap {
  constructor(open) {
    this.open = open;
    this.box = $("map"); this.canvas = $("canvas"); this.cursor = $("cursor"); this.said = $("map-said");
    this.pen = this.canvas.getContext("2d", { alpha: false });
    this.rows = new Map(); this.order = []; this.places = new Map(); this.heads = []; this.at = -1;
    this.chosen = 0; this.size = 16; this.width = 0; this.layouts = 0;
    $("size").addEventListener("change", (event) => { this.chosen = Number(event.target.value); this.layout(); });
    new ResizeObserver(() => { if (this.box.clientWidth !== this.width) this.layout(); }).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    this.box.addEventListener("click", (event) => {
      const index = this.under(event);
      if (index >= 0) { this.pick(index); this.open(this.order[index]); }
    });
    this.box.addEventListener("pointermove", (event) => {
      const index = this.under(event);
      if (event.pointerType === "mouse" && index >= 0) this.tell(index);
    });
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.drag();
  }

  /** Mouse drags pan, as a finger does. */
  drag() {
    let from = null;
    this.box.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0) from = { y: event.clientY, top: this.box.scrollTop, moved: false };
    });
    addEventListener("pointermove", (event) => {
      if (from === null) return;
      const by = from.y - event.clientY;
      from.moved ||= Math.abs(by) > 4;
      if (from.moved) this.box.scrollTop = from.top + by;
    });
    addEventListener("pointerup", () => { this.dragged = from?.moved ?? false; from = null; setTimeout(() => { this.dragged = false; }); });
  }

  show(rows) { this.rows = rows; this.layout(); }

  /** Some rows changed; the nodes are the same, unless ``anew``. */
  update(names, anew) {
    if (anew) { this.layout(); return; }
    for (const name of names) this.tile(name);
    if (this.at >= 0 && names.includes(this.order[this.at]) && document.activeElement === this.box) this.tell(this.at);
  }

  layout() {
    const picked = this.order[this.at];
    this.width = this.box.clientWidth;
    if (!this.width) return;
    this.layouts += 1;
    this.size = this.chosen || FITTING.find(([most]) => this.rows.size <= most)[1];
    const groups = new Map();
    for (const [name, row] of this.rows) { if (!groups.has(row.group)) groups.set(row.group, []); groups.get(row.group).push(name); }
    const step = this.size + GAP, across = Math.max(1, Math.floor((this.width - 2 * EDGE) / step));
    this.across = across; this.order = []; this.places.clear(); this.heads = [];
    let y = EDGE;
    for (const group of [...groups.keys()].sort()) {
      const names = groups.get(group).sort();
      if (groups.size > 1 || group) { this.heads.push([group || "no group", names.length, y]); y += HEAD; }
      names.forEach((name, index) => {
        this.order.push(name);
        this.places.set(name, [EDGE + (index % across) * step, y + Math.floor(index / across) * step]);
      });
      y += Math.ceil(names.length / across) * step + EDGE;
    }
    const height = Math.max(y, 40), scale = Math.min(devicePixelRatio || 1, Math.sqrt(MAX_PIXELS / (this.width * height)));
    this.scale = scale;
    this.canvas.width = Math.round(this.width * scale); this.canvas.height = Math.round(height * scale);
    this.canvas.style.width = `${this.width}px`; this.canvas.style.height = `${height}px`;
    this.at = this.order.indexOf(picked);
    this.paint();
    if (this.at >= 0) this.place();
  }

  paint() {
    const started = performance.now(), pen = this.pen;
    this.colours = Object.fromEntries(["back", "tile", "all", "el", "mice", "hit", "unknown", "text"].map((name) => [name, css(`--${name}`)]));
    pen.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    pen.fillStyle = this.colours.back;
    pen.fillRect(0, 0, this.canvas.width / this.scale, this.canvas.height / this.scale);
    pen.fillStyle = this.colours.text; pen.font = "12px system-ui, sans-serif"; pen.textBaseline = "top";
    for (const [group, count, y] of this.heads) pen.fillText(`${group} (${count})`, EDGE, y + 3, this.width - 2 * EDGE);
    for (const name of this.order) this.tile(name);
    this.painted = performance.now() - started;
  }

  tile(name) {
    const place = this.places.get(name), row = this.rows.get(name);
    if (!place || !row) return;
    const [x, y] = place, { pen, size, colours } = this, half = Math.floor(size / 2);
    pen.fillStyle = colours.tile; pen.fillRect(x, y, size, size);
    if (row.state !== "known") {
      pen.strokeStyle = colours.unknown; pen.lineWidth = 1.5;
      pen.beginPath(); pen.moveTo(x + 1, y + size - 1); pen.lineTo(x + size - 1, y + 1); pen.stroke();
      return;
    }
    bars(row).forEach(([cap, used, el], side) => {
      const left = x + side * half, wide = (side ? size - half : half - 1);
      const high = Math.round(size * (share(used, cap) ?? 0)), strong = Math.round(size * (share(el, cap) ?? 0));
      if (high) { pen.fillStyle = colours.all; pen.fillRect(left, y + size - high, wide, high); }
      if (strong) { pen.fillStyle = colours.el; pen.fillRect(left, y + size - strong, wide, strong); }
    });
    if (size >= NAMED) {
      pen.fillStyle = colours.text; pen.font = "10px system-ui, sans-serif"; pen.textBaseline = "top";
      pen.fillText(name.slice(-7), x + 4, y + 4, size - 20);
    }
    if (row.mice) {
      const dot = Math.min(Math.max(2, size / 7), 5);
      pen.fillStyle = colours.mice; pen.beginPath(); pen.arc(x + size - dot - 1, y + dot + 1, dot, 0, 2 * Math.PI); pen.fill();
    }
    if (row.collides) { pen.strokeStyle = colours.hit; pen.lineWidth = 2; pen.strokeRect(x + 1, y + 1, size - 2, size - 2); }
  }

  under(event) {
    if (this.dragged) return -1;
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let low = 0, high = this.order.length - 1;  // by y, then by x
    while (low < high) {
      const middle = (low + high + 1) >> 1, [left, top] = this.places.get(this.order[middle]);
      if (top < y - this.size || (top <= y && left <= x)) low = middle; else high = middle - 1;
    }
    const place = this.places.get(this.order[low]);
    return place && x >= place[0] && x < place[0] + this.size && y >= place[1] && y < place[1] + this.size ? low : -1;
  }

  tell(index) { this.said.textContent = say(this.rows.get(this.order[index])); }

  pick(index) { this.at = index; this.box.classList.add("picked"); this.place(); this.tell(index); }

  place() {
    const [x, y] = this.places.get(this.order[this.at]);
    this.cursor.style.width = this.cursor.style.height = `${this.size + 6}px`;
    this.cursor.style.transform = `translate(${x - 3}px, ${y - 3}px)`;
    if (y < this.box.scrollTop) this.box.scrollTop = y - EDGE;
    else if (y + this.size > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = y + this.size + EDGE - this.box.clientHeight;
  }

  key(event) {
    const last = this.order.length - 1;
    if (last < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = { ArrowRight: this.at + 1, ArrowLeft: this.at - 1, ArrowDown: this.at + this.across, ArrowUp: this.at - this.across,
      Home: 0, End: last, PageDown: this.at + 10 * this.across, PageUp: this.at - 10 * this.across }[event.key];
    if (to !== undefined) { event.preventDefault(); this.pick(Math.min(Math.max(to, 0), last)); }
    else if ((event.key === "Enter" || event.key === " ") && this.at >= 0) { event.preventDefault(); this.open(this.order[this.at]); }
  }
}
