/* What the composition is and does, as /admin/events tells it. Owns the state; `take` is the only way to change it.
   Knows nothing about the DOM. */

const KEPT_HAPPENINGS = 30;
const KEPT_S = 300;

export class Machine {
  constructor() {
    Object.assign(this, {
      state: null, hasOneMemory: false, budgets: {}, kvBudget: 0, kvUsed: 0, experts: new Map(), queue: {},
      seconds: new Map(), decision: null, happenings: [], clockAhead: 0,
    });
  }

  /** Take one event: its kind and its fields. Unknown kinds are passed over, for a newer server may have more. */
  take(kind, data) { this[`on_${kind}`]?.(data); }

  /** Unix time by the server's clock. */
  now() { return Date.now() / 1000 + this.clockAhead; }

  /** Return bytes that a tier holds, those that experts share counted once. */
  used(tier) {
    const shared = new Map();
    let own = 0;
    for (const expert of this.experts.values()) {
      const ready = tier === "disk" ? expert.size_bytes : expert[tier].ready_bytes;
      own += Math.max(0, ready - sharedBytes(expert));
      let left = ready;
      for (const group of expert.shared) {
        const name = [expert.name, ...group.experts].sort().join("\n");
        const here = Math.min(left, group.bytes);
        left -= here;
        shared.set(name, Math.max(shared.get(name) ?? 0, here));
      }
    }
    return own + [...shared.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  on_snapshot(data) {
    this.clockAhead = data.time - Date.now() / 1000;
    this.state = data.state;
    this.hasOneMemory = data.has_one_memory;
    this.budgets = Object.fromEntries(data.tiers.map(each => [each.tier, each.budget_bytes]));
    this.kvBudget = data.kv_budget_bytes;
    this.experts = new Map(data.experts.map(expert => [expert.name, expert]));
    this.seconds = new Map(data.throughput.map(each => [each.second, each]));
    this.on_queue(data.queue);
    for (const request of data.requests) this.#decided(request);
  }

  on_residency({expert, host, device}) { this.#change(expert, {host, device}); }

  on_pin({expert, is_pinned, time}) {
    this.#change(expert, {is_pinned});
    this.#note(time, expert, is_pinned ? "pinned" : "no longer pinned");
  }

  on_breaker({expert, state, error, time}) {
    this.#change(expert, {breaker: state, error: state === "closed" ? null : error});
    this.#note(time, expert, state === "closed" ? "runs again" : `kept out: ${error ?? state}`);
  }

  on_queue({experts, kv_used_bytes}) {
    this.queue = experts;
    this.kvUsed = kv_used_bytes;
    for (const [name, expert] of this.experts) expert.is_leased = (experts[name]?.running ?? 0) > 0;
  }

  on_throughput(second) {
    this.seconds.set(second.second, second);
    const oldest = this.now() - KEPT_S;
    for (const at of this.seconds.keys()) if (at < oldest) this.seconds.delete(at);
  }

  on_request(data) {
    this.#decided(data);
    if (data.phase === "failed" && data.outcome !== "cancelled") this.#note(data.time, data.expert ?? "request", `failed: ${data.outcome}`);
  }

  on_switch({expert, how, loaded_bytes, load_s, time}) {
    this.#note(time, expert, how === "device_hit" ? "switched to, already there" : "switched to", {bytes: loaded_bytes, seconds: load_s});
  }

  on_load({expert, phase, loaded_bytes, took_s, missing_bytes, time}) {
    if (phase === "started") this.#note(time, expert, "loads", {bytes: missing_bytes});
    else this.#note(time, expert, phase === "done" ? "loaded" : "stopped loading", {bytes: loaded_bytes, seconds: took_s});
  }

  on_eviction({expert, tier, why, bytes, time}) {
    const reason = {room: "to make room", unload: "unloaded", failed: "after a failure"}[why] ?? why;
    const last = this.happenings[0];
    const place = tier === "host" && this.hasOneMemory ? "memory" : tier;
    const what = `left ${place === "host" ? "RAM" : place === "device" ? "the device" : place}, ${reason}`;
    if (last?.expert === expert && last.what === what) last.bytes += bytes;  // one line for the units of one eviction
    else this.#note(time, expert, what, {bytes});
  }

  on_preemption({expert, tokens, time}) { this.#note(time, expert, `preempted: ${tokens} tokens are computed again`); }

  on_state({state, time}) {
    this.state = state;
    this.#note(time, "server", state);
  }

  on_lost({lost}) { this.#note(this.now(), "server", `${lost} events were missed`); }

  #decided(data) {
    if (data.because) this.decision = data;
  }

  #change(name, fields) {
    const expert = this.experts.get(name);
    if (expert) Object.assign(expert, fields);
  }

  #note(time, expert, what, {bytes = 0, seconds = null} = {}) {
    this.happenings.unshift({time, expert, what, bytes, seconds});
    this.happenings.length = Math.min(this.happenings.length, KEPT_HAPPENINGS);
  }
}

/** Return bytes of an expert that others have, too. */
export function sharedBytes(expert) { return expert.shared.reduce((sum, group) => sum + group.bytes, 0); }
