/* Follows GET /admin/events across lost connections and keys. Owns the connection and the last event's id. */

import {ask, lost, ServerError} from "./server.js";
import {blocks} from "./sse.js";

const AGAIN_MS = 1000;
const SILENCE_MS = 15000;  // the server sends a comment each second

export class Watch {
  #stopper = null;
  #lastId = null;

  /** `machine` takes each event, and is told why there are none. */
  constructor(machine) { this.machine = machine; }

  /** Watch from now on; anew if it is watching already, for the key may be another. */
  async begin() {
    this.#stopper?.abort();
    const stopper = this.#stopper = new AbortController();
    while (!stopper.signal.aborted) {
      try {
        await this.#follow(stopper);
      } catch (error) {
        if (error instanceof ServerError && error.status < 500) return this.machine.refuse(error.status);
      }
      await new Promise(resolve => setTimeout(resolve, AGAIN_MS));
    }
  }

  async #follow(stopper) {
    const headers = this.#lastId ? {"last-event-id": this.#lastId} : {};
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    const response = await ask("/admin/events", {headers, signal: AbortSignal.any([stopper.signal, silence.signal])});
    try {
      for await (const block of blocks(response)) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        if (block.comment !== undefined) continue;
        if (block.id) this.#lastId = block.id;
        this.machine.take(block.event, JSON.parse(block.data));
      }
      throw new Error("the stream ended");
    } catch (error) {
      if (!stopper.signal.aborted) lost(error);
    } finally {
      clearTimeout(timer);
    }
  }
}
