/* The tiers as columns and every expert as a block in each: its height is its bytes, its fill what is there. Hatched is
   what it shares with others. A row is one expert, so that one sees it move from column to column. */

import {colourOf} from "./colours.js";
import {byId, element, icon} from "./element.js";
import {bytes, percent} from "./format.js";
import {sharedBytes} from "./machine.js";
import {commandButtons} from "./operator.js";

const MOST_HEIGHT = 270;  // pixels of all blocks together, unless the smallest need more
const LEAST_HEIGHT = 30;
const NAMES = {device: "Device", host: "RAM", disk: "Disk"};

export class TiersView {
  #rows = new Map();
  #columns = "";

  constructor(choose) {
    this.choose = choose;
    this.element = byId("tiers");
    this.heads = new Map();
  }

  show(machine) {
    const tiers = machine.hasOneMemory ? ["host", "disk"] : ["device", "host", "disk"];
    const columns = JSON.stringify([tiers, [...machine.experts.keys()]]);
    if (columns !== this.#columns) this.#build(tiers, machine, columns);
    for (const tier of tiers) this.#showHead(tier, machine);
    const scale = scaleOf(machine);
    for (const [name, row] of this.#rows) row.show(machine.experts.get(name), scale);
    byId("one-memory").hidden = !machine.hasOneMemory;
    byId("shared-legend").hidden = ![...machine.experts.values()].some(expert => expert.shared.length);
  }

  #build(tiers, machine, columns) {
    this.#columns = columns;
    this.heads = new Map(tiers.map(tier => [tier, headOf(machine.hasOneMemory && tier === "host" ? "Device = RAM" : NAMES[tier])]));
    this.#rows = new Map([...machine.experts.keys()].map(name => [name, new Row(name, tiers, this.choose)]));
    this.element.dataset.columns = tiers.length;
    const corner = element("th", {scope: "col"}, element("span", {className: "off-screen"}, "Expert"));
    const head = element("thead", {}, element("tr", {}, corner, ...[...this.heads.values()].map(each => each.element)));
    this.element.replaceChildren(element("caption", {className: "off-screen"}, "Experts by tier"), head,
                                 element("tbody", {}, ...[...this.#rows.values()].map(row => row.element)));
  }

  #showHead(tier, machine) {
    const head = this.heads.get(tier), used = machine.used(tier), budget = machine.budgets[tier];
    head.numbers.textContent = tier === "disk" || !budget ? bytes(used) : `${bytes(used)} of ${bytes(budget)}`;
    head.gauge.hidden = tier === "disk" || !budget;
    if (budget) head.fill.style.width = `${Math.min(100, (used / budget) * 100)}%`;
  }
}

function headOf(name) {
  const numbers = element("span", {className: "numbers"}), fill = element("span", {className: "fill"});
  const gauge = element("span", {className: "gauge"}, fill);
  return {element: element("th", {scope: "col"}, element("span", {className: "tier-name"}, name), numbers, gauge), numbers, gauge, fill};
}

/** Return pixels for a byte. */
function scaleOf(machine) {
  const total = [...machine.experts.values()].reduce((sum, expert) => sum + expert.size_bytes, 0);
  return total ? MOST_HEIGHT / total : 0;
}

/** One expert: its name with marks and commands, and a block in each tier. */
class Row {
  constructor(name, tiers, choose) {
    const dot = element("span", {className: "dot"});
    dot.style.background = colourOf(name);
    this.name = name;
    this.marks = element("span", {className: "marks"});
    this.size = element("span", {className: "size"});
    this.buttons = commandButtons(name, choose);
    const summary = element("summary", {}, dot, element("span", {className: "expert-name"}, name), this.marks, this.size);
    this.error = element("p", {className: "error", hidden: true});
    this.details = element("details", {className: "expert", name: "expert"}, summary, this.error, this.buttons.element);
    this.blocks = new Map(tiers.map(tier => [tier, new Block(name)]));
    const cells = [...this.blocks.values()].map(block => element("td", {}, block.element));
    this.element = element("tr", {}, element("th", {scope: "row"}, this.details), ...cells);
  }

  show(expert, scale) {
    const height = Math.max(LEAST_HEIGHT, expert.size_bytes * scale);
    for (const [tier, block] of this.blocks) block.show(expert, tier, height);
    this.element.classList.toggle("leased", expert.is_leased);
    this.element.classList.toggle("broken", Boolean(expert.error));
    this.marks.replaceChildren(...marksOf(expert));
    this.size.textContent = bytes(expert.size_bytes);
    this.error.hidden = !expert.error;
    this.error.textContent = expert.error ?? "";
    this.buttons.show(expert);
  }
}

function marksOf(expert) {
  const marks = [];
  if (expert.is_leased) marks.push(mark("lease", "in use: its weights may not leave"));
  if (expert.is_pinned) marks.push(mark("pin", "pinned: its weights stay"));
  if (expert.is_streaming) marks.push(element("span", {className: "tag", title: "larger than the device: its layers come and go"}, "streams"));
  if (expert.error) marks.push(element("span", {className: "tag error"}, "error"));
  return marks;
}

function mark(name, what) {
  return element("span", {className: `mark ${name}`, title: what}, icon(name), element("span", {className: "off-screen"}, what));
}

/** An expert in a tier: its own part and the shared one fill from the top, in the order in which units are read. */
class Block {
  constructor(name) {
    this.ready = element("span", {className: "ready"});
    this.shared = element("span", {className: "shared"});
    this.moving = element("span", {className: "moving"});
    this.label = element("span", {className: "label"});
    this.element = element("div", {className: "block"}, this.ready, this.shared, this.moving, this.label);
    this.element.style.setProperty("--colour", colourOf(name));
  }

  show(expert, tier, height) {
    const {ready_bytes: ready, moving_bytes: moving} = tier === "disk" ? {ready_bytes: expert.size_bytes, moving_bytes: 0} : expert[tier];
    const size = Math.max(1, expert.size_bytes), shared = Math.min(ready, sharedBytes(expert));
    this.element.style.height = `${height}px`;
    this.ready.style.height = `${(ready / size) * 100}%`;
    this.shared.style.height = `${(shared / size) * 100}%`;
    this.moving.style.top = `${(ready / size) * 100}%`;
    this.moving.style.height = `${(moving / size) * 100}%`;
    this.element.classList.toggle("empty", ready + moving === 0);
    this.element.classList.toggle("whole", ready >= expert.size_bytes);
    this.label.textContent = labelOf(ready, moving, size, tier);
    this.element.title = `${expert.name}: ${bytes(ready)} of ${bytes(size)} here${shared ? `, of them ${bytes(shared)} shared with ${sharersOf(expert)}` : ""}`;
  }
}

function labelOf(ready, moving, size, tier) {
  if (tier === "disk") return "";
  if (ready >= size) return "whole";
  return ready + moving === 0 ? "" : percent(ready / size);
}

function sharersOf(expert) { return [...new Set(expert.shared.flatMap(group => group.experts))].join(", "); }
