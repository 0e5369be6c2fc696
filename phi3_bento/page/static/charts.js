// Two drawings: a line over time under a limit, and a bar with a limit.

import { element, shape } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 36;

/**
 * A line through `values`, oldest first; null is a gap. `limit` is drawn across, where given, and
 * what is far above it is cut off, so that one bad moment does not flatten all others. What it
 * shows stands beside it as text, so it is hidden from screen readers.
 */
export function sparkline(values, { limit = null, length = values.length } = {}) {
  const known = values.filter((value) => value !== null);
  const highest = Math.max(...known, 1e-9) * 1.08;
  const top = limit === null ? highest : Math.min(Math.max(highest, limit * 1.35), limit * 3);
  const x = (index) => (WIDTH * (index + length - values.length)) / Math.max(length - 1, 1);
  const y = (value) => HEIGHT - 1 - (value / top) * (HEIGHT - 2);
  const cut = (value) => Math.min(value, top);
  const parts = [];
  let open = false;
  values.forEach((value, index) => {
    if (value !== null) {
      parts.push(`${open ? "L" : "M"}${x(index).toFixed(1)} ${y(cut(value)).toFixed(1)}`);
      // A value between two gaps is a line without length: a dot.
      if (!open) parts.push("h0");
    }
    open = value !== null;
  });
  const drawn = [shape("path", { class: "curve", d: parts.join("") || "M0 0" })];
  if (limit !== null) {
    const at = y(limit).toFixed(1);
    drawn.unshift(shape("path", { class: "limit", d: `M0 ${at}H${WIDTH}` }));
  }
  const frame = { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" };
  return shape("svg", { ...frame, "aria-hidden": "true" }, ...drawn);
}

/** A bar that is `share` of its track; from 0 to 1. `kind` says how it is coloured. */
export function bar(share, kind = "") {
  const track = element("span", { class: "track", "aria-hidden": "true" });
  if (share > 0) {
    const filled = element("span", { class: `fill ${kind}` });
    filled.style.setProperty("--share", Math.min(share, 1));
    track.append(filled);
  }
  return track;
}
