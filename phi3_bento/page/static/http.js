// Requests to this very service, with the key of this tab.

const KEY = "phi3-bento.key";
let inMemory = null; // where a browser forbids the session's storage

/** The key, which lives as long as the tab does; null without one. */
export function currentKey() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return inMemory;
  }
}

/** Keep a key, or with null forget it. */
export function keepKey(key) {
  inMemory = key;
  try {
    if (key === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, key);
  } catch {
    // It is in memory.
  }
  document.dispatchEvent(new Event("keychange"));
}

/** Why a request got no answer, in words for a person. */
export class Refusal extends Error {
  constructor(status, message, headers = null) {
    super(message);
    this.status = status;
    this.headers = headers;
  }

  get needsKey() {
    return this.status === 401;
  }
}

/** Send a request; the response, or a `Refusal`. An abort stays an AbortError. */
export async function send(path, { body = null, headers = {}, signal = null, key = currentKey() } = {}) {
  const all = { ...headers };
  if (key) all.authorization = `Bearer ${key}`;
  if (body !== null) all["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method: body === null ? "GET" : "POST",
      headers: all,
      body: body === null ? undefined : JSON.stringify(body),
      signal,
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The service does not answer. Does it still run?");
  }
  if (!response.ok) throw await refusalOf(response);
  return response;
}

async function refusalOf(response) {
  let message = `The service answered with status ${response.status}.`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // A proxy's page, perhaps.
  }
  const wait = response.headers.get("retry-after");
  if (wait && response.status === 429) message += ` Try again in ${wait} s.`;
  return new Refusal(response.status, message, response.headers);
}

/** The documents of a stream of server-sent events. An error event is thrown as a `Refusal`. */
export async function* events(response) {
  let rest = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        if (!block.startsWith("data: ") || block === "data: [DONE]") continue;
        const document = JSON.parse(block.slice(6));
        if (document.error) throw new Refusal(response.status, document.error.message);
        yield document;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The same request for a terminal; the key is a variable there. */
export function asCurl(path, body, headers) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = [`curl ${quoted(new URL(path, document.baseURI).href)}`];
  if (currentKey()) lines.push(`-H "Authorization: Bearer $PHI3_API_KEY"`);
  for (const [name, value] of Object.entries({ "Content-Type": "application/json", ...headers })) {
    lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  }
  return [...lines, `-d ${quoted(JSON.stringify(body))}`].join(" \\\n  ");
}
