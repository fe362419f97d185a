/* A colour for each expert, the same everywhere on the page. Owns the order in which experts were named. */

const NUM_COLOURS = 8;
const order = new Map();

/** Give these experts the first colours, in this order. */
export function nameExperts(names) {
  for (const name of names) if (!order.has(name)) order.set(name, order.size);
}

/** Return the expert's colour, a CSS value; with more than eight experts colours come again. */
export function colourOf(expert) {
  nameExperts([expert]);
  return `var(--expert-${order.get(expert) % NUM_COLOURS})`;
}
