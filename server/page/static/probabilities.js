/* The router's probabilities as bars, the likeliest first. */

import {element} from "./element.js";
import {percent} from "./format.js";

const SHOWN = 5;

/** Return a list of bars; `entries` are [category, probability] pairs, `chosen` the category that was taken. */
export function bars(entries, chosen) {
  const ranked = [...entries].sort((one, other) => other[1] - one[1]).slice(0, SHOWN);
  return element("ul", {className: "bars"}, ...ranked.map(([category, probability]) => bar(category, probability, category === chosen)));
}

function bar(category, probability, isChosen) {
  const fill = element("span", {className: "fill"});
  fill.style.width = `${Math.max(probability * 100, 0.5)}%`;
  return element("li", {className: isChosen ? "chosen" : ""}, element("span", {className: "name"}, category),
                 element("span", {className: "track"}, fill), element("span", {className: "number"}, percent(probability)));
}
