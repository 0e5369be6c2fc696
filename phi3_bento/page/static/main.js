// The page's frame: state, key, tabs. Everything it asks, it asks of this service alone.

import { openChat } from "./chat.js";
import { openClassify } from "./classify.js";
import { byId } from "./dom.js";
import { openHealth } from "./health.js";
import { currentKey, keepKey, send } from "./http.js";

let model = null;

async function learnModel() {
  try {
    const { data } = await (await send("v1/models")).json();
    model = data[0].id;
    byId("model").textContent = model;
    byId("notice").hidden = true;
  } catch (error) {
    model = null;
    if (error.needsKey && !currentKey()) notice("This service asks for a key.");
    else if (error.status !== 0 && error.status !== 503) notice(error.message);
  }
}

function notice(words) {
  byId("notice").textContent = words;
  byId("notice").hidden = false;
}

function showState({ isReady, words }) {
  const state = byId("state");
  state.dataset.state = isReady ? "ready" : "not-ready";
  if (state.textContent !== words) state.textContent = words;
  if (isReady && model === null && byId("notice").hidden) learnModel();
}

function openTabs() {
  const tabs = [byId("tab-chat"), byId("tab-classify")];
  const choose = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
  };
  for (const tab of tabs) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", ({ key }) => {
      if (key !== "ArrowLeft" && key !== "ArrowRight") return;
      const other = tabs[1 - tabs.indexOf(tab)];
      choose(other);
      other.focus();
    });
  }
}

function openKeyDialog() {
  const dialog = byId("key-dialog");
  const field = byId("key");
  byId("open-key").addEventListener("click", () => {
    field.value = currentKey() ?? "";
    byId("forget-key").hidden = !currentKey();
    byId("key-failure").textContent = "";
    dialog.showModal();
    field.select();
  });
  byId("cancel-key").addEventListener("click", () => dialog.close());
  byId("forget-key").addEventListener("click", () => {
    keepKey(null);
    dialog.close();
  });
  byId("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const problem = await problemWith(field.value.trim());
    byId("key-failure").textContent = problem ?? "";
    if (problem) return field.focus();
    keepKey(field.value.trim());
    dialog.close();
  });
  document.addEventListener("keychange", () => {
    byId("notice").hidden = true;
    showKey();
    learnModel();
  });
  showKey();
}

/** Why this key would not do; null when it would, or when nobody can tell yet. */
async function problemWith(key) {
  if (!key) return "Paste a key here.";
  if (!/^[!-~]+$/.test(key)) return "A key has letters, digits and signs of ASCII alone, no spaces.";
  try {
    await send("v1/models", { key });
  } catch (error) {
    // A key for the metrics alone may not ask the model, and is good for the figures.
    if (error.status !== 403 && error.status !== 503) return error.message;
  }
  return null;
}

function showKey() {
  byId("open-key").textContent = currentKey() ? "Key in use" : "Add key";
}

const refused = (error) => {
  if (error.needsKey) notice(currentKey() ? error.message : "This service asks for a key.");
};

openTabs();
openKeyDialog();
openChat({ refused, model: () => model });
openClassify({ refused });
openHealth({ state: showState });
learnModel();
