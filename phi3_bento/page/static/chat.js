// The chat: a conversation, answered as it is generated.

import { byId, counted, element, milliseconds } from "./dom.js";
import { Refusal, events, send } from "./http.js";
import { cacheInWords, isHit, showReceipt } from "./receipt.js";

const PATH = "v1/chat/completions";
const EXAMPLES = [
  "Hello! What are you?",
  "Which port does this service use?",
  "What is 12 + 30?",
];

/** What was asked and answered so far: [{question, answer, node, again}]. */
let turns = [];
let running = null; // the AbortController of the answer under way
let onRefusal = () => {};
let modelName = () => null;

/** Wire the chat; `refused(error)` hears of each refusal, `model()` names the served model. */
export function openChat({ refused, model }) {
  onRefusal = refused;
  modelName = model;
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  byId("message").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
  });
  byId("stop").addEventListener("click", () => running?.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && running) running.abort();
  });
  byId("new-chat").addEventListener("click", startAnew);
  byId("parameters").addEventListener("input", showParameters);
  for (const example of EXAMPLES) {
    const button = element("button", { type: "button", class: "example" }, example);
    button.addEventListener("click", () => ask(example));
    byId("examples").append(button);
  }
  showParameters();
}

function submit() {
  const message = byId("message");
  const question = message.value.trim();
  if (!question || running) return;
  if (!byId("ask").reportValidity()) return;
  message.value = "";
  ask(question);
}

function startAnew() {
  running?.abort();
  for (const { node } of turns) node.remove();
  turns = [];
  byId("welcome").hidden = false;
  byId("message").focus();
}

function ask(question) {
  if (running) return;
  byId("welcome").hidden = true;
  const turn = { question, answer: "" };
  turn.node = element(
    "article",
    { class: "turn" },
    element("h2", {}, "You"),
    element("p", { class: "said" }, question),
  );
  byId("conversation").append(turn.node);
  turns.push(turn);
  answer(turn);
}

/** Have the last turn answered, or answered again: the request is the same to the byte. */
async function answer(turn) {
  const before = turns.slice(0, turns.indexOf(turn));
  const asked = { path: PATH, body: requestOf(before, turn.question), headers: cacheHeaders() };
  for (const { again } of turns) again?.remove();
  turn.reply?.remove();
  const text = document.createTextNode("");
  const said = element("p", { class: "said" }, text);
  turn.reply = element("div", { class: "reply" }, element("h2", {}, modelName() ?? "Model"), said);
  turn.node.append(turn.reply);
  setRunning(new AbortController());
  follow(true);
  const took = { headers: null, firstMs: null, totalMs: null, usage: null, note: null };
  const began = performance.now();
  try {
    const response = await send(PATH, { ...asked, signal: running.signal });
    took.headers = response.headers;
    for await (const chunk of events(response)) {
      const piece = chunk.choices[0]?.delta?.content;
      if (piece) {
        took.firstMs ??= performance.now() - began;
        const atEnd = isAtEnd();
        text.appendData(piece);
        follow(atEnd);
      }
      took.usage = usageOf(chunk) ?? took.usage;
      if (chunk.choices[0]?.finish_reason === "length") took.note = "cut off at the most tokens";
    }
  } catch (error) {
    took.note = explain(error, turn);
    took.headers ??= error.headers ?? null;
  }
  took.totalMs = performance.now() - began;
  turn.answer = text.data;
  setRunning(null);
  close(turn, took);
  showReceipt(asked, took);
}

function explain(error, turn) {
  if (error.name === "AbortError") return "stopped by you";
  const isRefusal = error instanceof Refusal;
  const message = isRefusal ? error.message : "The answer broke off.";
  if (isRefusal) onRefusal(error);
  turn.reply.append(element("p", { class: "failure", role: "alert" }, message));
  return isRefusal && error.status >= 400 ? `refused with status ${error.status}` : "failed";
}

/** Under an answer: what it took in a line, and the way to have it once more. */
function close(turn, took) {
  const status = took.headers?.get("cache-status");
  const facts = [];
  if (turn.answer) {
    facts.push(isHit(status) ? cacheInWords(status) : "generated");
    if (took.firstMs !== null) facts.push(`first token ${milliseconds(took.firstMs)}`);
    if (took.usage) facts.push(counted(took.usage.completion, "token"));
  }
  if (took.note) facts.push(took.note);
  turn.again = element("button", { type: "button", class: "quiet" }, turn.answer ? "Ask again" : "Try again");
  turn.again.addEventListener("click", () => {
    if (!running) answer(turn);
  });
  const line = element("p", { class: "took" }, element("span", {}, facts.join(" · ")), turn.again);
  turn.reply.append(line);
  follow(true);
  byId("announcement").textContent = `Answer ended: ${facts.join(", ") || "nothing came"}.`;
}

function requestOf(before, question) {
  const messages = [];
  const system = byId("system").value.trim();
  if (system) messages.push({ role: "system", content: system });
  for (const { question: earlier, answer: given } of before) {
    if (!given) continue;
    messages.push({ role: "user", content: earlier }, { role: "assistant", content: given });
  }
  messages.push({ role: "user", content: question });
  const seed = byId("seed").value;
  return {
    ...(modelName() && { model: modelName() }),
    messages,
    temperature: Number(byId("temperature").value),
    max_tokens: Number(byId("max-tokens").value),
    ...(seed !== "" && { seed: Number(seed) }),
    stream: true,
    stream_options: { include_usage: true },
  };
}

function cacheHeaders() {
  const wish = byId("cache").value;
  return wish ? { "Cache-Control": wish } : {};
}

function usageOf({ usage }) {
  if (!usage) return null;
  return {
    prompt: usage.prompt_tokens,
    cached: usage.prompt_tokens_details?.cached_tokens ?? 0,
    completion: usage.completion_tokens,
  };
}

function showParameters() {
  const parts = [`temperature ${byId("temperature").value || "?"}`, `${byId("max-tokens").value || "?"} tokens`];
  if (byId("seed").value) parts.push(`seed ${byId("seed").value}`);
  if (byId("cache").value) parts.push(byId("cache").value);
  if (byId("system").value.trim()) parts.push("system prompt");
  byId("parameters-now").textContent = parts.join(" · ");
}

function setRunning(controller) {
  running = controller;
  const isRunning = controller !== null;
  const hadFocus = document.activeElement === byId("stop");
  byId("conversation").setAttribute("aria-busy", String(isRunning));
  byId("stop").hidden = !isRunning;
  byId("send").hidden = isRunning;
  if (hadFocus) byId("message").focus();
}

/** The reader is at the end of the conversation, not somewhere above. */
function isAtEnd() {
  const box = byId("conversation");
  return box.scrollHeight - box.scrollTop - box.clientHeight < 60;
}

function follow(wanted) {
  if (!wanted) return;
  const box = byId("conversation");
  box.scrollTop = box.scrollHeight;
  // On a phone the page scrolls, not the conversation.
  byId("ask").scrollIntoView({ block: "nearest" });
}
