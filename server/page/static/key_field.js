/* The field for an API key: shown when the server asks for one, or when one is there. */

import {byId} from "./element.js";
import {key, news} from "./server.js";

export class KeyField {
  /** `changed` is called when there is another key. */
  constructor(changed) {
    const form = byId("key-form"), field = byId("key");
    field.value = key.value;
    form.hidden = key.value === "";
    news.addEventListener("key", () => {
      byId("key-note").textContent = key.value ? "The server does not know this key." : "This server asks for an API key.";
      if (form.hidden || !form.contains(document.activeElement)) { form.hidden = false; field.focus(); }
    });
    form.addEventListener("submit", event => {
      event.preventDefault();
      key.value = field.value.trim();
      byId("key-note").textContent = "";
      changed();
    });
  }
}
