// "Last request": what it took, stage by stage, and how to send it from a terminal.

import { byId, counted, element, milliseconds } from "./dom.js";
import { asCurl } from "./http.js";
import { waterfall } from "./timings.js";

export const OBJECTIVE_MS = 300;

/**
 * Show one request. `asked` is {path, body, headers}; `took` has what came of it: headers,
 * firstMs (to the first token; null for an answer that came whole), totalMs, usage, and note.
 */
export function showReceipt(asked, took) {
  byId("receipt").replaceChildren(
    element("p", { class: "code route" }, `POST /${asked.path}`),
    figures(took),
    drawnWaterfall(took),
    facts(took),
    curl(asked),
  );
}

/** `Cache-Status` in words. */
export function cacheInWords(status) {
  if (!status) return "no part in it";
  const detail = /detail=([\w-]+)/.exec(status)?.[1];
  if (/;\s*hit\b/.test(status)) return detail ? `hit, ${detail}` : "hit";
  if (/\bcollapsed\b/.test(status)) return "shared a generation under way";
  if (/fwd=bypass/.test(status)) return "bypassed: this answer is not one to keep";
  return /\bstored\b/.test(status) ? "miss, now kept" : "miss";
}

/** Whether the answer came without the engine's work for it. */
export const isHit = (status) => /;\s*hit\b|\bcollapsed\b/.test(status ?? "");

function figures({ headers, firstMs, totalMs, usage }) {
  const shown = [];
  const lead = firstMs ?? totalMs;
  shown.push(figure(firstMs == null ? "Answer" : "First token", milliseconds(lead), verdict(lead)));
  if (firstMs != null) shown.push(figure("Whole answer", milliseconds(totalMs)));
  const seconds = (totalMs - (firstMs ?? 0)) / 1000;
  const isGenerated = firstMs != null && !isHit(headers?.get("cache-status"));
  if (isGenerated && usage?.completion > 1 && seconds > 0) {
    shown.push(figure("Tokens per second", perSecond((usage.completion - 1) / seconds)));
  }
  return element("dl", { class: "figures" }, ...shown);
}

const perSecond = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(1));

const verdict = (ms) => (ms < OBJECTIVE_MS ? "good" : "");

function figure(name, value, kind = "") {
  return element("div", {}, element("dt", {}, name), element("dd", { class: kind }, value));
}

function drawnWaterfall(took) {
  const rows = waterfall({ ...took, serverTiming: took.headers?.get("server-timing") });
  const last = rows.at(-1);
  const end = last ? last.start + last.ms : 1;
  const box = element("div", { class: "waterfall" });
  const withLine = end > OBJECTIVE_MS * 0.6;
  const scale = withLine ? Math.max(end, OBJECTIVE_MS * 1.1) : end;
  rows.forEach((row, index) => {
    const mark = element("span", { class: `stage ${row.kind}` });
    mark.style.setProperty("--from", row.start / scale);
    mark.style.setProperty("--share", row.ms / scale);
    const cells = [
      element("span", { class: "stage-name" }, row.name),
      element("span", { class: "lane" }, mark),
      element("span", { class: "stage-time" }, milliseconds(row.ms)),
    ];
    for (const cell of cells) cell.style.gridRow = index + 1;
    box.append(...cells);
  });
  if (withLine) {
    const line = element("span", { class: "objective" }, element("span", {}, "300 ms"));
    line.style.setProperty("--at", OBJECTIVE_MS / scale);
    line.style.gridRow = `1 / span ${rows.length + 1}`;
    box.append(line);
  }
  return box;
}

function facts({ headers, usage, note }) {
  const status = headers?.get("cache-status");
  const rows = [["Cache", cacheInWords(status), status]];
  if (usage) {
    const cached = usage.cached ? ` (${usage.cached} in the KV cache)` : "";
    rows.push(["Tokens", `${usage.prompt} in${cached}, ${usage.completion} out`]);
  }
  const left = headers?.get("x-ratelimit-remaining-requests");
  if (left != null) rows.push(["Limit", `${counted(Number(left), "request")} left this minute`]);
  if (note) rows.push(["Outcome", note]);
  rows.push(["Request id", "", headers?.get("x-request-id") ?? "–"]);
  const list = element("dl", { class: "facts" });
  for (const [name, words, raw] of rows) {
    const value = element("dd", {}, words);
    if (raw) value.append(element("span", { class: "code raw" }, raw));
    list.append(element("dt", {}, name), value);
  }
  return list;
}

function curl({ path, body, headers }) {
  const text = asCurl(path, body, headers);
  const details = element(
    "details",
    { class: "curl" },
    element("summary", {}, "As a command"),
    element("pre", { tabindex: "0" }, text),
  );
  // A browser gives the clipboard to https and to this machine alone.
  if (navigator.clipboard) {
    const copy = element("button", { type: "button", class: "quiet" }, "Copy");
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    });
    details.append(copy);
  }
  return details;
}
