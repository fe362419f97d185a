/* What an operator can do with an expert: load, unload, pin, unpin; and anybody: ask it. */

import {say} from "./announcing.js";
import {element} from "./element.js";
import {ask} from "./server.js";

/** Return {element, show(expert)} with the buttons of an expert; `choose` is called for "Ask". */
export function commandButtons(name, choose) {
  const refusal = element("span", {className: "error"});
  const give = command => async () => {
    refusal.textContent = "";
    try {
      await ask(`/admin/experts/${encodeURIComponent(name)}/${command}`, {method: "POST"});
      say(`${name}: ${command} is done`);
    } catch (error) {
      refusal.textContent = error.message;
    }
  };
  const button = (label, onclick) => element("button", {type: "button", onclick, "aria-label": `${label} ${name}`}, label);
  const buttons = {ask: button("Ask", () => choose(name)), load: button("Load", give("load")), unload: button("Unload", give("unload")),
                   pin: button("Pin", give("pin")), unpin: button("Unpin", give("unpin"))};
  return {
    element: element("div", {className: "commands"}, ...Object.values(buttons), refusal),
    show(expert) {
      const isWhole = Math.max(expert.device.ready_bytes, expert.host.ready_bytes) >= expert.size_bytes;
      buttons.load.hidden = isWhole;
      buttons.unload.hidden = !isWhole;
      buttons.pin.hidden = expert.is_pinned;
      buttons.unpin.hidden = !expert.is_pinned;
    },
  };
}
