/* The last switches, loads and evictions, the newest first. */

import {colourOf} from "./colours.js";
import {byId, element} from "./element.js";
import {bytes, clock, seconds} from "./format.js";

const SHOWN = 10;

export class HappeningsView {
  #shown = "";

  show({happenings, experts}) {
    const shown = happenings.slice(0, SHOWN), now = JSON.stringify(shown);
    if (now === this.#shown) return;
    this.#shown = now;
    byId("happenings").replaceChildren(...shown.map(each => line(each, experts.has(each.expert))));
  }
}

function line({time, expert, what, bytes: count, seconds: took}, isExpert) {
  const dot = element("span", {className: "dot"});
  if (isExpert) dot.style.background = colourOf(expert);
  const cost = [count ? bytes(count) : null, took ? seconds(took) : null].filter(Boolean).join(" in ");
  return element("li", {}, element("time", {}, clock(time)), dot, element("span", {}, element("strong", {}, expert), ` ${what}`), element("span", {className: "number"}, cost));
}
