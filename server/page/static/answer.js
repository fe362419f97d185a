/* One answer while it comes: what has been said, decided, waited for and counted. Knows nothing about the DOM. */

import {ask, GoneError, lost} from "./server.js";
import {blocks} from "./sse.js";

export class Answer {
  /** `kept` is an answer as it was stored; one that was open then has ended since, with its page. */
  constructor(kept = null) {
    Object.assign(this, {
      text: "", thinking: "", calls: [], expert: null, coe: null, waiting: null, usage: null, finish: null, error: null,
      state: "asking", begun: null, firstToken: null, lastToken: null, pieces: 0, ...(kept ?? {}),
    });
    if (kept && this.isOpen) this.state = "stopped";
  }

  get isOpen() { return this.state === "asking" || this.state === "writing"; }

  /** Tokens a second from the first to the last, null while there are too few. A piece stands for a token until usage says. */
  get rate() {
    const tokens = (this.usage?.completion_tokens ?? this.pieces) - 1;
    const took = (this.lastToken - this.firstToken) / 1000;
    return this.firstToken !== null && tokens > 0 && took > 0.02 ? tokens / took : null;
  }

  get tokens() { return this.usage?.completion_tokens ?? this.pieces; }

  /** Return what goes back to the server as this turn. */
  get message() {
    return this.thinking ? {role: "assistant", content: this.text, reasoning_content: this.thinking}
                         : {role: "assistant", content: this.text};
  }

  /** Take one block of the stream. */
  take(block) {
    if (block.comment !== undefined) return this.#wait(block.comment);
    if (block.data === "[DONE]") return;
    const chunk = JSON.parse(block.data);
    if (chunk.error) return this.fail(chunk.error.message);
    if (chunk.model) this.expert = chunk.model;
    if (chunk.coe) this.coe = {...this.coe, ...chunk.coe};
    if (chunk.usage) this.usage = chunk.usage;
    for (const choice of chunk.choices ?? []) this.#add(choice);
  }

  fail(message) {
    this.error = message;
    this.state = "failed";
  }

  #wait(comment) {
    if (comment.startsWith("waiting ")) this.waiting = JSON.parse(comment.slice("waiting ".length));
  }

  #add({delta, finish_reason: finish}) {
    const said = delta.content || delta.reasoning_content || delta.tool_calls;
    if (said) {
      this.lastToken = performance.now();
      this.firstToken ??= this.lastToken;
      this.pieces += 1;
      this.waiting = null;
      this.state = "writing";
    }
    this.text += delta.content ?? "";
    this.thinking += delta.reasoning_content ?? "";
    for (const call of delta.tool_calls ?? []) {
      const known = this.calls[call.index] ??= {name: "", arguments: ""};
      known.name += call.function.name ?? "";
      known.arguments += call.function.arguments ?? "";
    }
    if (finish) this.finish = finish;
  }
}

/** Ask for an answer and fill `answer` as it comes; `changed` is called after each piece. Never throws. */
export async function fill(answer, body, {signal, changed, headers = {}}) {
  answer.begun = performance.now();
  const asked = {...body, stream: true, stream_options: {include_usage: true}, coe: {explain: true}};
  try {
    const response = await ask("/v1/chat/completions", {method: "POST", body: asked, headers, signal});
    await read(response, answer, changed);
    if (answer.isOpen) answer.state = "done";
  } catch (error) {
    if (error.name === "AbortError") answer.state = "stopped";
    else answer.fail(error instanceof GoneError ? "The server was lost before the answer was whole." : error.message);
  }
  answer.waiting = null;
  changed();
}

async function read(response, answer, changed) {
  let isWhole = false;
  try {
    for await (const block of blocks(response)) {
      answer.take(block);
      isWhole ||= block.data === "[DONE]";
      changed();
    }
  } catch (error) {
    throw lost(error);
  }
  if (!isWhole) throw lost(new Error("the stream ended early"));
}
