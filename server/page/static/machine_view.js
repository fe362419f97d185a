/* The right side: makes its panels and draws them after events, at most once in a frame. Without the right to watch it
   says why in one sentence and leaves the page to the conversation. */

import {byId} from "./element.js";
import {DecisionView} from "./decision_view.js";
import {HappeningsView} from "./happenings_view.js";
import {LoadView} from "./load_view.js";
import {Machine} from "./machine.js";
import {TiersView} from "./tiers_view.js";

const REFUSED = {
  401: "The live view of experts is an operator's: give an API key that has admin = true.",
  403: "The live view of experts is an operator's: this key has no admin = true.",
};
const CLOCK_MS = 1000;  // the chart moves on without events

export class MachineView {
  #isDue = false;

  /** `choose` is called with the expert that somebody wants to ask. */
  constructor(choose) {
    this.machine = new Machine();
    this.panels = [new TiersView(choose), new DecisionView(), new LoadView(), new HappeningsView()];
    setInterval(() => this.#draw(), CLOCK_MS);
  }

  take(kind, data) {
    this.machine.take(kind, data);
    this.#show("watching", "");
    this.#draw();
  }

  /** Say why nothing can be watched: the HTTP status that the server answered. */
  refuse(status) { this.#show("refused", REFUSED[status] ?? `The live view of experts cannot be had (${status}).`); }

  #show(state, why) {
    if (document.body.dataset.watch === state) return;
    document.body.dataset.watch = state;
    byId("refused").textContent = why;
  }

  #draw() {
    if (this.#isDue || this.machine.state === null) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      for (const panel of this.panels) panel.show(this.machine);
    });
  }
}
