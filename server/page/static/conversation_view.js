/* The conversation on the left: its turns, the field below them, and what can be done with each turn. Owns the one
   request that may be under way. */

import {fill} from "./answer.js";
import {AnswerView} from "./answer_view.js";
import {say} from "./announcing.js";
import {copy} from "./copy.js";
import {byId, element, icon, iconButton} from "./element.js";
import {examplesFor} from "./examples.js";

const NEAR_END = 80;  // pixels from the end in which new text is followed

export class ConversationView {
  #stopper = null;
  #views = new Map();

  constructor(conversation, settings) {
    this.conversation = conversation;
    this.settings = settings;
    this.list = byId("turns");
    this.field = byId("prompt");
    byId("composer").addEventListener("submit", event => { event.preventDefault(); this.send(); });
    byId("new").addEventListener("click", () => this.begin());
    this.field.addEventListener("keydown", event => this.#keydown(event));
    this.field.addEventListener("input", () => this.#fit());
    this.show();
  }

  /** Offer examples for these experts while nothing has been said. */
  offer(names) {
    byId("examples").replaceChildren(...examplesFor(names).map(example => this.#example(example)));
  }

  /** Send what is in the field; while an answer comes, stop it instead. */
  send() {
    if (this.#stopper) return this.stop();
    const prompt = this.field.value.trim();
    if (!prompt) return this.field.focus();
    this.field.value = "";
    this.#fit();
    this.#ask(prompt);
  }

  stop() { this.#stopper?.abort(); }

  /** Begin a new conversation. */
  begin() {
    this.stop();
    this.conversation.clear();
    this.show();
    this.field.focus();
    say("New conversation");
  }

  /** Ask the last prompt again. */
  retry(turn = this.conversation.turns.at(-1)) {
    if (!turn) return;
    this.stop();
    const prompt = this.conversation.cut(turn);
    this.show();
    this.#ask(prompt);
  }

  /** Take the prompt of a turn back into the field; it and what follows are asked anew. */
  edit(turn = this.conversation.turns.at(-1)) {
    if (!turn) return;
    this.stop();
    this.field.value = this.conversation.cut(turn);
    this.show();
    this.#fit();
    this.field.focus();
  }

  show() {
    const {turns} = this.conversation;
    this.#views = new Map(turns.map(turn => [turn, new AnswerView(turn.answer)]));
    this.list.replaceChildren(...turns.map(turn => this.#shownTurn(turn)));
    this.#showState();
    this.#toEnd();
  }

  async #ask(prompt) {
    let sampling;
    try {
      ({sampling} = this.settings);
    } catch (error) {
      this.field.value = prompt;
      byId("composer-error").textContent = error.message;
      return;
    }
    byId("composer-error").textContent = "";
    const turn = this.conversation.add(prompt), view = new AnswerView(turn.answer), stopper = new AbortController();
    this.#views.set(turn, view);
    this.list.append(this.#shownTurn(turn));
    this.#stopper = stopper;
    this.#showState();
    this.#toEnd();
    const body = {model: this.settings.model, messages: this.conversation.messages(this.settings.system), ...sampling};
    const headers = {"x-coe-conversation": this.conversation.id};
    await fill(turn.answer, body, {signal: stopper.signal, headers, changed: () => this.#following(() => view.changed())});
    if (this.#stopper === stopper) this.#stopper = null;
    this.#ended(turn);
  }

  #ended(turn) {
    if (this.conversation.turns.includes(turn)) this.conversation.keep();
    this.#showState();
    const {state, expert, error} = turn.answer;
    say(state === "failed" ? error : `${expert ?? "The answer"} ${state === "stopped" ? "was stopped" : "has answered"}`);
  }

  #following(change) {
    const scroller = byId("scroller");
    const isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END;
    change();
    if (isAtEnd) this.#toEnd();
  }

  #toEnd() {
    const scroller = byId("scroller");
    scroller.scrollTop = scroller.scrollHeight;
  }

  #showState() {
    const isOpen = this.#stopper !== null, send = byId("send");
    byId("welcome").hidden = this.conversation.turns.length > 0;
    byId("new").disabled = this.conversation.turns.length === 0;
    if (send.dataset.state === String(isOpen)) return;
    send.dataset.state = String(isOpen);
    send.title = isOpen ? "Stop (Esc)" : "Send (Enter)";
    send.setAttribute("aria-label", isOpen ? "Stop" : "Send");
    send.replaceChildren(icon(isOpen ? "stop" : "send"));
  }

  #shownTurn(turn) {
    const prompt = element("div", {className: "prompt"}, element("span", {className: "off-screen"}, "You: "), turn.prompt);
    const asked = element("div", {className: "actions"}, iconButton("edit", "Edit this prompt", () => this.edit(turn)));
    const answered = element("div", {className: "actions"},
      iconButton("copy", "Copy this answer", event => copy(turn.answer.text, event.currentTarget)),
      iconButton("retry", "Ask again", () => this.retry(turn)));
    return element("li", {className: "turn"}, element("div", {className: "asked"}, asked, prompt), this.#views.get(turn).element, answered);
  }

  #example({title, prompt}) {
    const onclick = () => { this.field.value = prompt; this.send(); };
    return element("li", {}, element("button", {type: "button", className: "example", onclick}, element("strong", {}, title), element("span", {}, prompt)));
  }

  #keydown(event) {
    if (event.isComposing) return;  // Enter chooses a word of an input method
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (!this.#stopper) this.send();
    } else if (event.key === "ArrowUp" && this.field.value === "") {
      event.preventDefault();
      this.edit();
    }
  }

  #fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight + 2}px`;
  }
}
