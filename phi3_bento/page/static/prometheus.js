// Reads Prometheus' text format, and makes of two readings what a person wants to know.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** The samples whose names begin with `prefix`: a Map of name → [{labels, value}]. */
export function parse(text, prefix = "") {
  const families = new Map();
  for (const line of text.split("\n")) {
    if (!line.startsWith(prefix) || line.startsWith("#")) continue;
    const match = LINE.exec(line);
    if (!match) continue;
    const [, name, inner, number] = match;
    const labels = Object.fromEntries([...(inner ?? "").matchAll(LABEL)].map(([, k, v]) => [k, v]));
    const value = number === "+Inf" ? Infinity : Number(number);
    if (!families.has(name)) families.set(name, []);
    families.get(name).push({ labels, value });
  }
  return families;
}

/** The sum of a family's samples that have these labels; null where there is no such family. */
export function total(families, name, wanted = {}) {
  const samples = families.get(name);
  if (!samples) return null;
  const fits = ({ labels }) => Object.entries(wanted).every(([k, v]) => labels[k] === v);
  return samples.filter(fits).reduce((sum, { value }) => sum + value, 0);
}

/** What a counter grew by between two readings; null where it is unknown, or began anew. */
export function growth(before, after, name, wanted = {}) {
  const now = total(after, name, wanted);
  if (now === null) return null;
  const grown = now - (total(before, name, wanted) ?? 0);
  return grown < 0 ? null : grown;
}

/** The quantile of what a histogram saw between two readings, as Prometheus computes it. */
export function quantile(q, before, after, name) {
  const counts = cumulative(after, name);
  const old = cumulative(before, name);
  const buckets = [...counts]
    .map(([le, count]) => [le, count - (old.get(le) ?? 0)])
    .sort(([a], [b]) => a - b);
  const all = buckets.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  const rank = q * all;
  const index = buckets.findIndex(([, count]) => count >= rank);
  const [end, count] = buckets[index];
  const [start, below] = index > 0 ? buckets[index - 1] : [0, 0];
  if (end === Infinity) return start;
  return start + ((end - start) * (rank - below)) / (count - below);
}

function cumulative(families, name) {
  const counts = new Map();
  for (const { labels, value } of families.get(`${name}_bucket`) ?? []) {
    const le = labels.le === "+Inf" ? Infinity : Number(labels.le);
    counts.set(le, (counts.get(le) ?? 0) + value);
  }
  return counts;
}
