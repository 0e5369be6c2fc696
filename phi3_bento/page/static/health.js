// "Service now": the two promises, 300 ms and 8 GB, beside what is measured.

import { bar, sparkline } from "./charts.js";
import { byId, element, milliseconds } from "./dom.js";
import { currentKey, send } from "./http.js";
import { growth, parse, quantile, total } from "./prometheus.js";
import { OBJECTIVE_MS } from "./receipt.js";

const PERIOD_MS = 2000;
const KEPT = 61; // readings: two minutes
const MINUTE = 30; // readings
const RATE_OVER = 5; // readings
const GIB = 2 ** 30;

let readings = []; // [{at, families, point}]
let locked = null; // why the metrics are not read, until there is another key
let onState = () => {};

/** Look every two seconds, while the page is seen; `state({isReady, words})` hears how it is. */
export function openHealth({ state }) {
  onState = state;
  document.addEventListener("keychange", () => {
    locked = null;
    readings = [];
    look();
  });
  document.addEventListener("visibilitychange", () => document.hidden || look());
  setInterval(() => document.hidden || look(), PERIOD_MS);
  look();
}

let looking = false;

async function look() {
  if (looking) return;
  looking = true;
  try {
    await Promise.all([askState(), readMetrics()]);
  } finally {
    looking = false;
  }
}

async function askState() {
  try {
    await send("v1/health/ready", { key: null });
    onState({ isReady: true, words: "Ready" });
  } catch ({ status, message }) {
    onState({ isReady: false, words: status === 0 ? "Not reachable" : message });
  }
}

async function readMetrics() {
  // A wrong key asked again and again would count as guessing.
  if (locked !== null) return show();
  try {
    const response = await send("metrics");
    keep(parse(await response.text(), "phi3_"));
  } catch (error) {
    readings = [];
    if (error.status === 401 || error.status === 403) locked = reason(error.status);
  }
  show();
}

function reason(status) {
  if (status === 401) return "The figures need a key with the scope metrics.";
  return currentKey()
    ? "This key lacks the scope metrics, which the figures need. The playground works without."
    : "The figures need a key with the scope metrics.";
}

function keep(families) {
  const last = readings.at(-1);
  const count = (all) => total(all, "phi3_requests_total") ?? 0;
  if (last && count(families) < count(last.families)) readings = []; // the service began anew
  readings.push({ at: performance.now(), families, point: null });
  readings.at(-1).point = { p95: p95(RATE_OVER, light()), rate: rate() };
  readings = readings.slice(-KEPT);
}

/** The reading `steps` ago, or the oldest one. */
const ago = (steps) => readings.at(Math.max(-steps - 1, -readings.length)).families;
const now = () => readings.at(-1).families;

const ALL = "phi3_request_duration_seconds";
/** What the objective of 300 ms is about; a service that does not tell them apart: all. */
const light = () => (now().has("phi3_light_request_seconds_bucket") ? "phi3_light_request_seconds" : ALL);

function p95(steps, name) {
  const seconds = quantile(0.95, ago(steps), now(), name);
  return seconds === null ? null : seconds * 1000;
}



function rate() {
  const first = readings.at(Math.max(-RATE_OVER - 1, -readings.length));
  const seconds = (readings.at(-1).at - first.at) / 1000;
  const requests = growth(first.families, now(), "phi3_requests_total");
  return seconds > 0 && requests !== null ? requests / seconds : null;
}

function hitShare(before) {
  const grown = (wanted) => growth(before, now(), "phi3_cache_requests_total", wanted);
  const all = grown({});
  return all ? (grown({ result: "hit" }) + grown({ result: "collapsed" })) / all : null;
}

function show() {
  if (locked !== null || !readings.length) {
    const words = locked ?? "No figures yet.";
    return byId("health").replaceChildren(element("p", { class: "hint" }, words));
  }
  byId("health").replaceChildren(
    element("div", { class: "gauges" }, latency(), requests(), hits(), memory()),
  );
}

function gauge(name, value, beside, ...drawings) {
  const shown = element("p", { class: "value" }, value, element("small", {}, beside));
  return element("div", { class: "gauge" }, element("h3", {}, name), shown, ...drawings);
}

function latency() {
  const value = p95(MINUTE, light());
  const all = light() === ALL ? null : p95(MINUTE, ALL);
  const points = readings.map(({ point }) => point.p95);
  const kind = value === null ? "" : value < OBJECTIVE_MS ? "good" : "bad";
  return gauge(
    `${light() === ALL ? "Answers" : "Light requests"}, 95th percentile`,
    element("span", { class: kind }, milliseconds(value)),
    element("span", {}, " of ", element("span", { class: "line-key" }, `${OBJECTIVE_MS} ms`), all && `, whole answers ${milliseconds(all)}`),
    sparkline(points, { limit: OBJECTIVE_MS, length: KEPT }),
  );
}

function requests() {
  const { rate: current } = readings.at(-1).point;
  const points = readings.map(({ point }) => point.rate);
  const inFlight = total(now(), "phi3_requests_in_flight");
  return gauge(
    "Requests",
    current === null ? "–" : current >= 100 ? current.toFixed(0) : current.toFixed(1),
    ` per second${inFlight === null ? "" : `, ${inFlight} under way`}`,
    sparkline(points, { length: KEPT }),
  );
}

function hits() {
  const share = hitShare(ago(MINUTE));
  return gauge(
    "From the cache",
    share === null ? "–" : `${(share * 100).toFixed(0)} %`,
    share === null ? "" : " hits",
    bar(share ?? 0),
  );
}

function memory() {
  const used = total(now(), "phi3_memory_bytes");
  const budget = total(now(), "phi3_memory_budget_bytes");
  const known = used !== null && budget;
  return gauge(
    "Memory",
    known ? (used / GIB).toFixed(2) : "–",
    known ? ` of ${+(budget / GIB).toFixed(1)} GiB` : "",
    bar(known ? used / budget : 0, known && used > budget ? "over" : ""),
  );
}
