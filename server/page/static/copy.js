/* Puts text on the clipboard and says so on the button that was pressed. */

import {element, icon} from "./element.js";
import {say} from "./announcing.js";

const SHOWN_MS = 1500;

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // over plain HTTP from another machine a browser has no clipboard for pages
    copyBySelection(text);
  }
  const before = [...button.childNodes];
  button.replaceChildren(icon("check"));
  say("Copied");
  setTimeout(() => button.replaceChildren(...before), SHOWN_MS);
}

function copyBySelection(text) {
  const box = element("textarea", {value: text, className: "off-screen", "aria-hidden": "true"});
  const focused = document.activeElement;
  document.body.append(box);
  box.select();
  document.execCommand("copy");
  box.remove();
  focused?.focus();
}
