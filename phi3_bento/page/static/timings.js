// What a request's time went into: the service's own stages, the way there, the rest of a stream.

const SUMS = new Set(["total", "ttft"]);
/** Phases that an answer may do without: one that took no time is not drawn. */
const PHASES = new Set(["queue", "decode"]);

/** `Server-Timing` as [{name, ms}]. */
export function parseServerTiming(text) {
  return (text ?? "")
    .split(",")
    .map((part) => /^\s*([^;\s]+).*?;\s*dur=([\d.]+)/.exec(part))
    .filter(Boolean)
    .map(([, name, ms]) => ({ name, ms: Number(ms) }));
}

/**
 * The bars of a waterfall, [{name, start, ms, kind}], in milliseconds since the request was sent.
 *
 * The service's stages follow each other; what it does not name is "other". How the network's time
 * divides between there and back cannot be known here: it stands after the service's.
 */
export function waterfall({ serverTiming, firstMs, totalMs }) {
  const stages = parseServerTiming(serverTiming);
  const sum = stages.find(({ name }) => SUMS.has(name))?.ms;
  const rows = [];
  let at = 0;
  const add = (name, ms, kind) => {
    rows.push({ name, start: at, ms, kind });
    at += ms;
  };
  // "engine" is what the engine took beside its phases: most of it comes after them.
  const last = stages.filter(({ name }) => name === "engine");
  for (const { name, ms } of [...stages.filter((stage) => !last.includes(stage)), ...last]) {
    if (!SUMS.has(name) && !(PHASES.has(name) && ms < 0.05)) add(name, ms, "service");
  }
  if (sum > at + 0.05) add("other", sum - at, "service");
  const first = firstMs ?? totalMs;
  if (first > at) add(stages.length ? "network" : "answer", first - at, stages.length ? "network" : "service");
  if (firstMs != null && totalMs > firstMs) add("stream", totalMs - firstMs, "stream");
  return rows;
}
