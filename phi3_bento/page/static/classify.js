// A decision among labels, with the probability of every one as a bar.

import { bar } from "./charts.js";
import { byId, element } from "./dom.js";
import { Refusal, send } from "./http.js";
import { showReceipt } from "./receipt.js";

const PATH = "classify";

/** Wire the form; `refused(error)` hears of each refusal. */
export function openClassify({ refused }) {
  byId("decide").addEventListener("submit", (event) => {
    event.preventDefault();
    decide(refused);
  });
}

async function decide(refused) {
  const asked = { path: PATH, body: { items: [item()] }, headers: {} };
  const button = byId("classify-send");
  const took = { headers: null, firstMs: null, totalMs: null, usage: null, note: null };
  button.disabled = true;
  const began = performance.now();
  try {
    const response = await send(PATH, asked);
    took.headers = response.headers;
    const [decision] = await response.json();
    if (decision.error) throw new Refusal(response.status, decision.error.message, response.headers);
    took.usage = usageOf(decision.usage);
    byId("decision").replaceChildren(drawn(decision));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    took.headers = error.headers;
    took.note = "no decision";
    refused(error);
    byId("decision").replaceChildren(element("p", { class: "failure" }, error.message));
  } finally {
    button.disabled = false;
  }
  took.totalMs = performance.now() - began;
  showReceipt(asked, took);
}

function item() {
  const labels = byId("labels").value.split(",").map((label) => label.trim()).filter(Boolean);
  const instruction = byId("instruction").value.trim();
  return { text: byId("text").value, labels, ...(instruction && { instruction }) };
}

function usageOf(usage) {
  return { prompt: usage.prompt_tokens, cached: usage.cached_tokens, completion: usage.completion_tokens };
}

function drawn({ label, probabilities }) {
  const list = element("dl", { class: "probabilities" });
  const ranked = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  for (const [name, probability] of ranked) {
    const kind = name === label ? "chosen" : "";
    list.append(
      element("dt", { class: kind }, name),
      element("dd", {}, bar(probability, kind), element("span", { class: "share" }, percent(probability))),
    );
  }
  return list;
}

function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value >= 99.95 ? "100" : value.toFixed(1)} %`;
}
