/* What goes with every request beside its messages: model, system prompt, sampling. Owns the fields and keeps them in
   sessionStorage. An empty field is not sent, so the expert's own default counts. */

import {byId} from "./element.js";
import {COMPOSITION} from "./models.js";

const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];
const FIELDS = ["model", "system", ...NUMBERS];

export class Settings {
  #wanted = sessionStorage.getItem("model");

  constructor() {
    for (const name of FIELDS) {
      const field = byId(name);
      if (name !== "model") field.value = sessionStorage.getItem(name) ?? "";
      field.addEventListener("change", () => this.#changed(name));
    }
    this.#summarise();
  }

  get system() { return byId("system").value.trim(); }

  get model() { return byId("model").value; }

  /** Return the fields of a request; throws an Error that names a field which has no number. */
  get sampling() {
    const body = {};
    for (const name of NUMBERS) {
      const field = byId(name);
      if (!field.validity.valid) throw new Error(`${field.labels[0].firstChild.textContent.trim()}: ${field.validationMessage}`);
      if (field.value !== "") body[name] = Number(field.value);
    }
    return body;
  }

  /** Offer these experts beside the composition; what was chosen stays chosen where it is still there. */
  offer(experts) {
    const select = byId("model");
    const chosen = this.#wanted ?? select.value;
    select.replaceChildren(new Option("Routed: the router chooses", COMPOSITION), ...experts.map(each => new Option(each.id, each.id)));
    select.value = chosen;
    if (select.selectedIndex < 0) select.value = COMPOSITION;
    this.#wanted = null;
  }

  /** Ask this expert from now on. */
  choose(expert) {
    byId("model").value = expert;
    this.#changed("model");
  }

  #changed(name) {
    sessionStorage.setItem(name, byId(name).value);
    this.#summarise();
  }

  #summarise() {
    const set = NUMBERS.filter(name => byId(name).value !== "").map(name => `${name.replace("_", " ")} ${byId(name).value}`);
    if (this.system) set.unshift("a system prompt");
    byId("settings-summary").textContent = set.length ? set.join(", ") : "the expert's defaults";
  }
}
