/* The router's last decision: who, how sure, and why in words. It may be of any client's request; the text is not shown. */

import {colourOf} from "./colours.js";
import {byId, element} from "./element.js";
import {clock} from "./format.js";
import {bars} from "./probabilities.js";

export class DecisionView {
  #shown = null;

  show({decision}) {
    if (decision === this.#shown || decision === null) return;
    this.#shown = decision;
    const dot = element("span", {className: "dot"});
    dot.style.background = colourOf(decision.expert);
    const at = decision.time ? element("time", {}, clock(decision.time)) : null;
    const who = element("p", {className: "who"}, dot, element("strong", {}, decision.expert), element("span", {}, decision.because), at);
    const passed = (decision.passed_over ?? []).map(text => element("p", {className: "note"}, `passed over: ${text}`));
    byId("decision").replaceChildren(who, bars(Object.entries(decision.probabilities ?? {}), decision.category), ...passed);
  }
}
