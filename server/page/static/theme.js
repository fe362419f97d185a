/* Light, dark, or as the system has it. Owns the choice, kept in localStorage. */

import {byId} from "./element.js";

const NEXT = {auto: "light", light: "dark", dark: "auto"};

export class Theme {
  constructor() {
    this.#apply(localStorage.getItem("theme") ?? "auto");
    byId("theme").addEventListener("click", () => this.next());
  }

  next() {
    this.#apply(NEXT[document.documentElement.dataset.theme]);
    localStorage.setItem("theme", document.documentElement.dataset.theme);
  }

  #apply(theme) {
    const known = theme in NEXT ? theme : "auto";
    document.documentElement.dataset.theme = known;
    const label = `Colours: ${known === "auto" ? "as the system has them" : known}`;
    byId("theme").title = `${label} (t)`;
    byId("theme").setAttribute("aria-label", label);
  }
}
