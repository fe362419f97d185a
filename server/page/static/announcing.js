/* What a screen reader is told, in one polite live region. Streams themselves are not read out piece by piece. */

import {byId} from "./element.js";

export function say(text) {
  byId("announcing").textContent = text;
}
