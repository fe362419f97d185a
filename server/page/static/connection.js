/* Whether the server is there. Owns the sign that says it is not, and asks /ready until it is again. */

import {byId} from "./element.js";
import {news} from "./server.js";

const GONE_POLL_MS = 1000;
const POLL_MS = 5000;
const PATIENCE_MS = 8000;

export class Connection {
  #timer = null;
  #isHere = true;

  /** `back` is called when the server can be asked again. */
  constructor(back) {
    this.back = back;
    news.addEventListener("gone", () => this.look());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.look(); });
    this.#later();
  }

  /** Ask the server now whether it is there. */
  async look() {
    clearTimeout(this.#timer);
    this.#timer = null;
    let said;
    try {
      const response = await fetch("/ready", {cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS)});
      said = response.ok ? null : starting((await response.json()).status);
    } catch {
      said = "The server does not answer. This page asks again each second and goes on by itself.";
    }
    this.#show(said);
    this.#later();
  }

  #show(said) {
    byId("gone").hidden = said === null;
    byId("gone-text").textContent = said ?? "";
    document.body.dataset.server = said === null ? "here" : "gone";
    const wasHere = this.#isHere;
    this.#isHere = said === null;
    if (this.#isHere && !wasHere) this.back();
  }

  #later() {
    if (this.#timer === null && !document.hidden) this.#timer = setTimeout(() => this.look(), this.#isHere ? POLL_MS : GONE_POLL_MS);
  }
}

function starting(status) {
  if (status === "closed" || status === "draining") return "The server is ending. This page goes on when it is back.";
  return `The server is there and not ready yet${status ? `: ${status}` : ""}.`;
}
