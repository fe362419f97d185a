/* What a model writes, as safe DOM: markdown by marked, cleaned by DOMPurify. Owns what HTML an answer may have: no
   images, forms, styles, ids or frames, so that no answer makes the browser ask another host or passes for the page. */

import {marked} from "./vendor/marked.js";
import DOMPurify from "./vendor/purify.js";
import {element, iconButton} from "./element.js";
import {copy} from "./copy.js";

const ALLOWED = {
  ALLOWED_TAGS: ["a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol",
                 "p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  ALLOWED_ATTR: ["href", "class", "align", "start"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  RETURN_DOM_FRAGMENT: true,
};

marked.use({
  gfm: true,
  breaks: true,
  renderer: {
    html({text}) { return escaped(text); },  // a tag that a model writes is text, most of all in code without a fence
    image({href, text}) { return `<a href="${escaped(href)}">${escaped(text || href)}</a>`; },
  },
});

// How code begins; an expert that was tuned on code alone writes no fence around it, and markdown would eat its indents.
const CODE = /^\s*(?:#!|#include\b|(?:async )?(?:def|function) \w+|class \w+|import \w|from [\w.]+ import |public |private |package \w|const \w+ =|let \w+ =|var \w+ =|SELECT\b.+\bFROM\b|<\?php|<!doctype)/i;

/** Return a fragment that shows a model's text. */
export function rendered(text) {
  if (CODE.test(text) && !text.includes("```")) return framedText(text);
  const fragment = DOMPurify.sanitize(marked.parse(text), ALLOWED);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const heading of fragment.querySelectorAll("h1, h2, h3, h4, h5, h6")) heading.replaceWith(asText(heading));
  for (const table of fragment.querySelectorAll("table")) scrolling(table, "Table");
  for (const block of fragment.querySelectorAll("pre")) block.replaceWith(framed(block));
  return fragment;
}

function framedText(text) {
  const fragment = new DocumentFragment();
  fragment.append(framed(element("pre", {}, element("code", {}, text.trimEnd()))));
  return fragment;
}

/** A heading within an answer is no heading of the page. */
function asText(heading) {
  return element("p", {className: `heading level-${heading.tagName[1]}`}, ...heading.childNodes);
}

function scrolling(table, label) {
  const box = element("div", {className: "scrolling", tabIndex: 0, role: "group", "aria-label": label});
  table.replaceWith(box);
  box.append(table);
}

function framed(block) {
  const language = /language-([\w+#.-]+)/.exec(block.firstElementChild?.className ?? "")?.[1] ?? "code";
  const text = block.textContent;
  block.tabIndex = 0;  // a wide block scrolls, by keys too
  block.setAttribute("role", "group");
  block.setAttribute("aria-label", `${language} block`);
  const bar = element("div", {className: "code-bar"}, element("span", {}, language),
                      iconButton("copy", "Copy this code", event => copy(text, event.currentTarget)));
  return element("div", {className: "code"}, bar, block.cloneNode(true));
}

function escaped(text) {
  return text.replace(/[&<>"']/g, sign => `&#${sign.charCodeAt(0)};`);
}
