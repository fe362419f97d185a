/* The page's table of contents: makes the parts and tells them of each other. */

import {KeyField} from "./key_field.js";
import {CompareView} from "./compare_view.js";
import {Connection} from "./connection.js";
import {Conversation} from "./conversation.js";
import {ConversationView} from "./conversation_view.js";
import {byId} from "./element.js";
import {MachineView} from "./machine_view.js";
import {fetchExperts} from "./models.js";
import {GoneError, ServerError} from "./server.js";
import {Settings} from "./settings.js";
import {installShortcuts} from "./shortcuts.js";
import {Theme} from "./theme.js";
import {Views} from "./views.js";
import {Watch} from "./watch.js";

const views = new Views();
const theme = new Theme();
const settings = new Settings();
const chat = new ConversationView(new Conversation(), settings);
const compare = new CompareView(settings);
const machine = new MachineView(expert => { settings.choose(expert); views.show("chat"); byId("prompt").focus(); });
const watch = new Watch(machine);
new KeyField(begin);
const connection = new Connection(begin);

/** Ask what there is to ask; again after a new key, or when the server is back. */
async function begin() {
  try {
    const experts = await fetchExperts();
    settings.offer(experts);
    compare.offer(experts);
    chat.offer(experts.map(expert => expert.id));
    watch.begin();
  } catch (error) {
    if (error instanceof GoneError || error.status === 503) connection.look();
    else if (!(error instanceof ServerError)) throw error;  // a 401 shows the field for a key
  }
}

installShortcuts({
  stop: () => { chat.stop(); compare.stop(); document.activeElement.blur(); },
  write: () => byId(views.current === "compare" ? "compare-prompt" : "prompt").focus(),
  begin: () => { views.show("chat"); chat.begin(); },
  retry: () => chat.retry(),
  edit: () => chat.edit(),
  copy: () => {
    const buttons = document.querySelectorAll("#turns [aria-label='Copy this answer']");
    buttons[buttons.length - 1]?.click();
  },
  model: () => byId("model").focus(),
  settings: () => { byId("settings").open = !byId("settings").open; if (byId("settings").open) byId("system").focus(); },
  view: name => views.show(name),
  theme: () => theme.next(),
});
begin();
