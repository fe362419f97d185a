/* Which view is shown: the conversation, the comparison, and on a narrow screen the experts. Owns the tabs and their keys. */

import {byId} from "./element.js";

const VIEWS = ["chat", "compare", "experts"];

export class Views {
  constructor() {
    for (const name of VIEWS) {
      const tab = byId(`tab-${name}`);
      tab.addEventListener("click", () => this.show(name));
      tab.addEventListener("keydown", event => this.#keydown(event, name));
    }
    this.show("chat");
  }

  get current() { return document.body.dataset.view; }

  show(name) {
    document.body.dataset.view = name;
    for (const each of VIEWS) {
      const tab = byId(`tab-${each}`);
      tab.setAttribute("aria-selected", String(each === name));
      tab.tabIndex = each === name ? 0 : -1;
    }
  }

  #keydown(event, name) {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    const shown = VIEWS.filter(each => byId(`tab-${each}`).offsetParent !== null);
    const next = shown.at((shown.indexOf(name) + step) % shown.length);
    this.show(next);
    byId(`tab-${next}`).focus();
  }
}
