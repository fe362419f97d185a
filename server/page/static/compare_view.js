/* Two or more experts and the same prompt, side by side, their answers streamed at once. Owns the requests under way. */

import {Answer, fill} from "./answer.js";
import {AnswerView} from "./answer_view.js";
import {say} from "./announcing.js";
import {colourOf} from "./colours.js";
import {copy} from "./copy.js";
import {byId, element, iconButton} from "./element.js";
import {COMPOSITION} from "./models.js";

const FEWEST = 2;

export class CompareView {
  #stopper = null;

  constructor(settings) {
    this.settings = settings;
    this.field = byId("compare-prompt");
    byId("comparer").addEventListener("submit", event => { event.preventDefault(); this.send(); });
    this.field.addEventListener("keydown", event => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.#stopper) this.send();
    });
  }

  /** Offer the router's choice and these experts; the first two are chosen until somebody chooses. */
  offer(experts) {
    const before = new Set(this.#chosen());
    const names = [COMPOSITION, ...experts.map(expert => expert.id)];
    const chosen = before.size ? before : new Set(names.slice(0, FEWEST));
    byId("compare-models").replaceChildren(...names.map(name => choice(name, chosen.has(name))));
  }

  async send() {
    if (this.#stopper) return this.stop();
    const prompt = this.field.value.trim(), models = this.#chosen();
    if (models.length < FEWEST) return this.#say("Choose two or more.");
    if (!prompt) return this.field.focus();
    let sampling;
    try { ({sampling} = this.settings); } catch (error) { return this.#say(error.message); }
    this.#say("");
    const stopper = this.#stopper = new AbortController();
    this.#showState();
    const system = this.settings.system ? [{role: "system", content: this.settings.system}] : [];
    const messages = [...system, {role: "user", content: prompt}];
    const columns = models.map(model => new Column(model));
    byId("compare-columns").replaceChildren(...columns.map(column => column.element));
    await Promise.all(columns.map(column => column.ask({messages, ...sampling}, stopper.signal)));
    this.#stopper = null;
    this.#showState();
    say("All have answered");
  }

  stop() { this.#stopper?.abort(); }

  #chosen() { return [...document.querySelectorAll("#compare-models input:checked")].map(box => box.value); }

  #say(text) { byId("compare-error").textContent = text; }

  #showState() {
    byId("compare-send").textContent = this.#stopper ? "Stop" : "Ask all";
  }
}

/** One model's answer. */
class Column {
  constructor(model) {
    this.model = model;
    this.view = new AnswerView(new Answer());
    const title = model === COMPOSITION ? "Routed" : model;
    const copies = iconButton("copy", `Copy the answer of ${title}`, event => copy(this.view.answer.text, event.currentTarget));
    const dot = element("span", {className: "dot"});
    if (model !== COMPOSITION) dot.style.background = colourOf(model);
    const head = element("div", {className: "column-head"}, dot, element("h3", {}, title), copies);
    this.element = element("section", {className: model === COMPOSITION ? "column routed" : "column", "aria-label": title}, head, this.view.element);
  }

  ask(body, signal) {
    return fill(this.view.answer, {model: this.model, ...body}, {signal, changed: () => this.view.changed()});
  }
}

function choice(name, isChosen) {
  const dot = element("span", {className: "dot"});
  if (name !== COMPOSITION) dot.style.background = colourOf(name);
  const box = element("input", {type: "checkbox", value: name, checked: isChosen});
  return element("label", {className: "chip"}, box, dot, name === COMPOSITION ? "Routed" : name);
}
