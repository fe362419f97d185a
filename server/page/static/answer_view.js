/* Shows one answer: who gave it, thoughts, text, what is waited for, and what it cost. Used by both views. */

import {element} from "./element.js";
import {bytes, counted, milliseconds, ordinal, percent} from "./format.js";
import {rendered} from "./markdown.js";
import {bars} from "./probabilities.js";
import {colourOf} from "./colours.js";

const FRAME_MS = 60;  // markdown is rendered anew at most this often
const SWITCHES = {device_hit: "already on the device", host_hit: "loaded from RAM", disk_miss: "loaded from disk"};
const ENDS = {length: "cut at the token limit", tool_calls: "calls a tool"};

export class AnswerView {
  #timer = null;
  #facts = "";

  constructor(answer) {
    this.answer = answer;
    this.who = element("div", {className: "who"});
    this.thoughts = element("details", {className: "thoughts", hidden: true}, element("summary", {}, "Thoughts"), element("div"));
    this.text = element("div", {className: "text"});
    this.progress = element("div", {className: "progress", hidden: true});
    this.facts = element("div", {className: "facts"});
    this.element = element("div", {className: "answer"}, this.who, this.thoughts, this.text, this.progress, this.facts);
    this.show();
  }

  /** Show soon what the answer is by then; at once when it has ended. */
  changed() {
    if (!this.answer.isOpen) {
      clearTimeout(this.#timer);
      this.#timer = null;
      this.show();
    } else this.#timer ??= setTimeout(() => { this.#timer = null; this.show(); }, FRAME_MS);
  }

  show() {
    const {answer} = this;
    this.element.dataset.state = answer.state;
    this.element.setAttribute("aria-busy", String(answer.isOpen));
    this.who.hidden = answer.state === "asking" && !answer.expert;
    this.who.replaceChildren(...whoParts(answer));
    this.#showThoughts();
    this.text.replaceChildren(rendered(answer.text), ...answer.calls.map(shownCall));
    if (answer.error) this.text.append(element("p", {className: "error"}, answer.error));
    if (answer.state === "stopped") this.text.append(element("p", {className: "note"}, "Stopped."));
    this.#showProgress();
    this.#showFacts();
  }

  #showThoughts() {
    const {answer, thoughts} = this;
    thoughts.hidden = !answer.thinking;
    if (!answer.thinking) return;
    thoughts.firstChild.textContent = answer.isOpen && !answer.text ? "Thinking …" : "Thoughts";
    if (thoughts.open || !answer.isOpen) thoughts.lastChild.replaceChildren(rendered(answer.thinking));
  }

  #showProgress() {
    const {answer, progress} = this;
    progress.hidden = answer.state !== "asking";
    if (progress.hidden) return;
    const {waiting} = answer;
    const share = waiting?.size_bytes ? waiting.loaded_bytes / waiting.size_bytes : null;
    const isLoading = share !== null && share < 1;
    const bar = element("progress", {max: 1, "aria-label": "Loading"});
    if (isLoading) bar.value = share;
    progress.replaceChildren(isLoading ? bar : element("span", {className: "dots", "aria-hidden": "true"}), element("span", {}, waitingText(waiting)));
  }

  #showFacts() {
    const {answer} = this;
    const facts = answer.isOpen && !answer.coe ? [] : factsOf(answer);
    const now = JSON.stringify([facts, answer.isOpen]);
    if (now === this.#facts) return;  // an open "why" stays open
    this.#facts = now;
    const because = answer.coe?.because && element("span", {className: "because"}, answer.coe.because);
    const line = element("div", {className: "fact-line"}, ...facts.map(fact => element("span", {}, fact)));
    this.facts.replaceChildren(...[because, line, !answer.isOpen && whyDetails(answer)].filter(Boolean));
  }
}

/** Return what an answer waits for, in words: "sql: 2nd in the queue, 40 % of 270 MB". */
export function waitingText(waiting) {
  if (!waiting) return "Asking the router …";
  const parts = [];
  if (waiting.position) parts.push(`${ordinal(waiting.position)} in the queue`);
  const isLoading = waiting.size_bytes && waiting.loaded_bytes < waiting.size_bytes;
  if (isLoading) parts.push(`${percent(waiting.loaded_bytes / waiting.size_bytes)} of ${bytes(waiting.size_bytes)} loaded`);
  return `${waiting.expert}: ${parts.join(", ") || "reading the prompt"}`;
}

function whoParts({expert, coe}) {
  if (!expert) return [element("span", {className: "dot"}), element("strong", {}, "no answer")];
  const dot = element("span", {className: "dot"});
  dot.style.background = colourOf(expert);
  const category = coe?.category && coe.category !== expert ? `for ${coe.category}` : null;
  const sure = coe?.confidence ? `${percent(coe.confidence)} sure` : null;
  const small = [category, sure].filter(Boolean).join(", ");
  return [dot, element("strong", {}, expert), small && element("span", {}, small)].filter(Boolean);
}

function shownCall(call) {
  return element("pre", {className: "call", tabIndex: 0, role: "group", "aria-label": "Call of a tool"}, `${call.name}(${call.arguments})`);
}

function factsOf({coe, rate, tokens, finish, isOpen}) {
  const facts = [];
  if (rate !== null) facts.push(`${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`);
  if (tokens && !isOpen) facts.push(counted(tokens, "token"));
  if (coe?.cached) facts.push("a kept answer");
  if (coe?.switch) facts.push(...switchFacts(coe.switch));
  if (ENDS[finish]) facts.push(ENDS[finish]);
  return facts;
}

function switchFacts(change) {
  const cost = change.loaded_bytes ? `: ${bytes(change.loaded_bytes)} in ${milliseconds(change.load_ms)}` : "";
  const facts = [`first token after ${milliseconds(change.first_token_ms)}`];
  if (change.queue_ms >= 1) facts.push(`${milliseconds(change.queue_ms)} in the queue`);
  facts.push(`${SWITCHES[change.kind] ?? change.kind.replaceAll("_", " ")}${cost}`);
  return facts;
}

function whyDetails({coe}) {
  const probabilities = Object.entries(coe?.probabilities ?? {});
  if (!probabilities.length) return null;
  const passed = (coe.passed_over ?? []).map(({expert, reason}) => element("p", {className: "note"}, `${expert} was passed over: ${reason}`));
  const changed = (coe.changed ?? []).map(what => element("p", {className: "note"}, what));
  return element("details", {className: "why"}, element("summary", {}, "What the router saw"), bars(probabilities, coe.category), ...passed, ...changed);
}
