/* The keys of the page and the dialog that lists them; one table for both. Keys without Ctrl act outside of fields alone. */

import {byId, element} from "./element.js";

/** `commands`: name → function. */
export function installShortcuts(commands) {
  const dialog = byId("help");
  const KEYS = [
    ["Enter", "send the prompt"],
    ["Shift + Enter", "begin a new line"],
    ["Esc", "stop the answer; leave a field", "Escape", commands.stop],
    ["↑", "in an empty field: edit the last prompt"],
    ["/", "write a prompt", "/", commands.write],
    ["n", "begin a new conversation", "n", commands.begin],
    ["r", "ask the last prompt again", "r", commands.retry],
    ["e", "edit the last prompt", "e", commands.edit],
    ["c", "copy the last answer", "c", commands.copy],
    ["m", "choose who answers", "m", commands.model],
    ["s", "system prompt and sampling", "s", commands.settings],
    ["1", "conversation", "1", () => commands.view("chat")],
    ["2", "compare", "2", () => commands.view("compare")],
    ["3", "experts (narrow screens)", "3", () => commands.view("experts")],
    ["t", "light, dark, or as the system has it", "t", commands.theme],
    ["?", "this list", "?", () => dialog.showModal()],
  ];
  byId("keys").replaceChildren(...KEYS.map(([shown, what]) => element("div", {}, element("dt", {}, element("kbd", {}, shown)), element("dd", {}, what))));
  byId("help-open").addEventListener("click", () => dialog.showModal());
  byId("help-close").addEventListener("click", () => dialog.close());
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || dialog.open) return;
    const isInField = event.target.matches("input:not([type=checkbox]), textarea, select");
    const command = KEYS.find(([, , key]) => key === event.key)?.[3];
    if (!command || (isInField && event.key !== "Escape")) return;
    event.preventDefault();
    command();
  });
}
