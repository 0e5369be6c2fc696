// Elements out of plain values. Text goes in as text nodes only: nothing here reads HTML.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** A new element; `attributes` that are false or null are left out, children may be strings. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Milliseconds as a person reads them. */
export function milliseconds(value) {
  if (value == null || Number.isNaN(value)) return "–";
  if (value >= 10000) return `${(value / 1000).toFixed(1)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value >= 100 ? Math.round(value) : value.toFixed(value >= 10 ? 0 : 1)} ms`;
}

/** "1 token", "2 tokens". */
export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
