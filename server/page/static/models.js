/* Which models can be asked. Owns the list of /v1/models without those that answer no prompt. */

import {ask} from "./server.js";
import {nameExperts} from "./colours.js";

export const COMPOSITION = "coe";
const NO_ANSWERS = new Set(["embedding", "rerank"]);

/** Return the experts that answer prompts, in the server's order; throws what `ask` throws. */
export async function fetchExperts() {
  const {data} = await (await ask("/v1/models")).json();
  const experts = data.filter(model => model.id !== COMPOSITION && !NO_ANSWERS.has(model.kind));
  nameExperts(experts.map(expert => expert.id));
  return experts;
}
