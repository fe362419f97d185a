/* Makes DOM elements. Owns nothing; text is always text here, never HTML. */

const ICONS = {
  copy: "M9 9h10v12H9zM5 15V3h10",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  retry: "M20 12a8 8 0 1 1-2.5-5.8M20 3v5h-5",
  pin: "M9 3h6l-1 6 4 4H6l4-4zM12 13v8",
  lease: "M7 5l12 7-12 7z",
  send: "M12 20V5M5 12l7-7 7 7",
  stop: "M6 6h12v12H6z",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  check: "M4 12l6 6L20 6",
};

/** Return an element; `props` are properties, `on…` listeners, `aria-…`, `role` and `data-…` attributes. */
export function element(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return made;
}

/** Return an SVG element; all of `props` are attributes. */
export function svg(tag, props = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Return one of the page's icons, which says nothing to a screen reader. */
export function icon(name) {
  return svg("svg", {viewBox: "0 0 24 24", class: `icon icon-${name}`, "aria-hidden": "true"}, svg("path", {d: ICONS[name]}));
}

/** Return a small button that shows an icon and is called `label`. */
export function iconButton(name, label, onclick) {
  return element("button", {type: "button", className: "quiet", title: label, "aria-label": label, onclick}, icon(name));
}

export const byId = id => document.getElementById(id);
