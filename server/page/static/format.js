/* Numbers as people read them: bytes in decimal units, times, shares. Pure. */

const UNITS = ["B", "kB", "MB", "GB", "TB"];

export function bytes(count) {
  let unit = 0;
  while (count >= 999.5 && unit < UNITS.length - 1) { count /= 1000; unit += 1; }
  return `${count < 10 && unit > 0 ? count.toFixed(1) : count.toFixed(0)} ${UNITS[unit]}`;
}

export function milliseconds(count) {
  return count < 1000 ? `${count.toFixed(0)} ms` : `${(count / 1000).toFixed(count < 10000 ? 2 : 1)} s`;
}

export const seconds = count => milliseconds(count * 1000);

export const percent = share => `${(share * 100).toFixed(share > 0 && share < 0.01 ? 1 : 0)} %`;

/** Return 1st, 2nd, 3rd … */
export function ordinal(count) {
  const tens = count % 100, last = count % 10;
  const ending = tens >= 11 && tens <= 13 ? "th" : ({1: "st", 2: "nd", 3: "rd"}[last] ?? "th");
  return `${count}${ending}`;
}

/** Return "1 request", "2 requests". */
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

export const clock = unixSeconds => new Date(unixSeconds * 1000).toLocaleTimeString("en-GB");
