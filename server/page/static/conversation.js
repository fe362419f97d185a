/* The turns of one conversation. Owns their order and keeps them in sessionStorage, so that a reload loses nothing and
   another tab sees nothing. Knows nothing about the DOM or the server. */

import {Answer} from "./answer.js";

const KEPT = "conversation";

export class Conversation {
  constructor() {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    this.id = kept?.id ?? newId();
    this.turns = (kept?.turns ?? []).map(({prompt, answer}) => ({prompt, answer: new Answer(answer)}));
  }

  get isOpen() { return this.turns.at(-1)?.answer.isOpen ?? false; }

  /** Add a prompt; returns the turn with its empty answer. */
  add(prompt) {
    const turn = {prompt, answer: new Answer()};
    this.turns.push(turn);
    return turn;
  }

  /** Forget a turn and all after it; returns its prompt. */
  cut(turn) {
    this.turns.length = this.turns.indexOf(turn);
    this.keep();
    return turn.prompt;
  }

  clear() {
    this.id = newId();
    this.turns = [];
    this.keep();
  }

  /** Return the messages up to and with the last prompt; answers that said nothing are left out with their prompts. */
  messages(system) {
    const messages = system ? [{role: "system", content: system}] : [];
    for (const {prompt, answer} of this.turns.slice(0, -1)) {
      if (answer.text) messages.push({role: "user", content: prompt}, answer.message);
    }
    messages.push({role: "user", content: this.turns.at(-1).prompt});
    return messages;
  }

  keep() { sessionStorage.setItem(KEPT, JSON.stringify({id: this.id, turns: this.turns})); }
}

function newId() { return `page-${Array.from(crypto.getRandomValues(new Uint8Array(8)), byte => byte.toString(16).padStart(2, "0")).join("")}`; }
