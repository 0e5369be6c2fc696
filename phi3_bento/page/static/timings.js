// What a request's time went into: the service's own stages, the way there, the rest of a stream.

const SUMS = new Set(["total", "ttft"]);

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
  for (const { name, ms } of stages) if (!SUMS.has(name)) add(name, ms, "service");
  if (sum > at + 0.05) add("other", sum - at, "service");
  const first = firstMs ?? totalMs;
  if (first > at) add(stages.length ? "network" : "answer", first - at, stages.length ? "network" : "service");
  if (firstMs != null && totalMs > firstMs) add("stream", totalMs - firstMs, "stream");
  return rows;
}
