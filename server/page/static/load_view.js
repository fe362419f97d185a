/* Queue and throughput: who waits and runs now, KV in use, and tokens of the last minutes as a chart. */

import {colourOf} from "./colours.js";
import {byId, element, svg} from "./element.js";
import {bytes, counted} from "./format.js";

const SHOWN_S = 180;
const STEP_S = 3;  // a bar is so many seconds
const WIDTH = 360, HEIGHT = 72;
const GRID = [0.5, 1];

export class LoadView {
  show(machine) {
    this.#showQueue(machine);
    this.#showChart(machine);
  }

  #showQueue({queue, kvUsed, kvBudget}) {
    const waiting = Object.entries(queue).map(([expert, {queued, running}]) => queueItem(expert, queued, running));
    const nothing = element("li", {className: "note"}, "nothing runs or waits");
    byId("queue").replaceChildren(...(waiting.length ? waiting : [nothing]));
    byId("kv").textContent = kvBudget ? `KV cache: ${bytes(kvUsed)} of ${bytes(kvBudget)} reserved` : "";
  }

  #showChart(machine) {
    const now = Math.floor(machine.now() / STEP_S) * STEP_S;
    const answered = binned(machine.seconds, now, "completion_tokens"), read = binned(machine.seconds, now, "prompt_tokens");
    const top = niceTop(Math.max(1, ...answered));
    const minute = [...machine.seconds.values()].filter(each => each.second >= machine.now() - 60);
    const total = name => minute.reduce((sum, each) => sum + each[name], 0);
    byId("rate").textContent = `Last minute: ${counted(total("completion_tokens"), "token")} written, ${counted(total("prompt_tokens"), "token")} read, ${counted(total("requests"), "request")}`;
    byId("chart").replaceChildren(...GRID.flatMap(share => gridLine(share, top)), ...barsOf(answered, top, "written"), ...marksOf(read));
  }
}

function queueItem(expert, queued, running) {
  const dot = element("span", {className: "dot"});
  dot.style.background = colourOf(expert);
  return element("li", {}, dot, element("strong", {}, expert), element("span", {}, [running && `${running} running`, queued && `${queued} waiting`].filter(Boolean).join(", ")));
}

/** Return tokens a second for each bar, the oldest first. */
function binned(seconds, now, name) {
  const bins = new Array(SHOWN_S / STEP_S).fill(0);
  for (const each of seconds.values()) {
    const at = bins.length - 1 - Math.floor((now + STEP_S - 1 - each.second) / STEP_S);
    if (at >= 0 && at < bins.length) bins[at] += each[name] / STEP_S;
  }
  return bins;
}

/** Return 1, 2 or 5 times a power of ten, not less than `most`. */
function niceTop(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map(each => each * power).find(each => each >= most);
}

function barsOf(bins, top, className) {
  const width = WIDTH / bins.length;
  return bins.flatMap((rate, at) => {
    if (!rate) return [];
    const height = Math.max(1, (rate / top) * HEIGHT);
    return [svg("rect", {class: className, x: at * width, y: HEIGHT - height, width: width - 1, height, rx: 1})];
  });
}

/** A prompt that was read is a tick below the axis: its tokens are of another scale. */
function marksOf(bins) {
  const width = WIDTH / bins.length;
  return bins.flatMap((rate, at) => (rate ? [svg("rect", {class: "read", x: at * width, y: HEIGHT + 3, width: width - 1, height: 3, rx: 1})] : []));
}

function gridLine(share, top) {
  const y = HEIGHT - share * HEIGHT + 0.5;
  const text = svg("text", {x: 0, y: y + 10, class: "axis"});
  text.textContent = `${top * share}${share === 1 ? " tokens/s" : ""}`;
  return [svg("line", {x1: 0, x2: WIDTH, y1: y, y2: y, class: "grid"}), text];
}
