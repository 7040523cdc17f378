/**
 * The start of the page: its views, its keys, its language, its token, and the text that its address asks for.
 */
import { hasToken, listModels, setToken } from "./api.js";
import { fillModels, readThis, startCells, stopReading } from "./cells.js";
import { announce, buildLegends, startTheme } from "./frame.js";
import { startGenerate, stop, writeLink } from "./generate.js";
import { readLink } from "./link.js";
import { startLive } from "./live.js";
import { allModels, buildChoice, setModels } from "./models.js";
import { boundLength, buildParameters } from "./parameters.js";
import { scoreThis, startScore, stopScoring } from "./score.js";
import { currentLanguage, setLanguage } from "./words.js";

const VIEWS = ["generate", "score", "cells"];
const WIDE = "(min-width: 900px)";
const RETRY = 2000; // milliseconds until the next try to learn the server's models

const find = (id) => document.getElementById(id);

function openView(name, text) {
  for (const view of VIEWS) {
    const isOpen = view === name;
    find(view).hidden = !isOpen;
    find(`tab-${view}`).setAttribute("aria-selected", isOpen);
    find(`tab-${view}`).tabIndex = isOpen ? 0 : -1;
  }
  if (text === undefined) return;
  find(`tab-${name}`).focus();
  if (name === "score") scoreThis(text);
  if (name === "cells") readThis(text);
}

function startTabs() {
  for (const [n, name] of VIEWS.entries()) {
    const tab = find(`tab-${name}`);
    tab.addEventListener("click", () => openView(name));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!step) return;
      const next = VIEWS[(n + step + VIEWS.length) % VIEWS.length];
      openView(next);
      find(`tab-${next}`).focus();
    });
  }
}

function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (find("token-dialog").open) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      const view = VIEWS.find((name) => !find(name).hidden);
      find(`${view}-form`).requestSubmit();
    }
    if (event.key === "Escape" && [stop(), stopScoring(), stopReading()].includes(true)) event.preventDefault();
  });
}

function startLanguage() {
  const button = find("language");
  const choose = (name) => {
    setLanguage(name);
    const other = currentLanguage() === "en" ? ["ko", "한", "한국어"] : ["en", "EN", "English"];
    button.lang = other[0];
    button.textContent = other[1];
    button.setAttribute("aria-label", other[2]);
    button.title = other[2];
  };
  button.addEventListener("click", () => {
    choose(currentLanguage() === "en" ? "ko" : "en");
    localStorage.setItem("nextchar-language", currentLanguage());
  });
  choose(localStorage.getItem("nextchar-language") ?? (navigator.language.startsWith("ko") ? "ko" : "en"));
}

function startSettings() {
  const wide = matchMedia(WIDE);
  const fit = () => (find("settings").open = wide.matches);
  wide.addEventListener("change", fit);
  fit();
}

/** Lets the reader give a token, when asked or when the server wants one. */
function startToken() {
  const dialog = find("token-dialog");
  const open = () => dialog.open || dialog.showModal();
  find("token-open").addEventListener("click", () => {
    find("token-wrong").hidden = true;
    open();
  });
  document.addEventListener("locked", () => {
    find("token-wrong").hidden = !hasToken();
    open();
  });
  dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "save") return;
    setToken(find("token-field").value.trim());
    find("token-field").value = "";
    learnModels();
  });
}

/** Asks for the server's models until it tells them, then writes the text of the address, if it has one. */
async function learnModels() {
  try {
    setModels(await listModels());
  } catch (error) {
    if (error.status === 401) document.dispatchEvent(new CustomEvent("locked"));
    else setTimeout(learnModels, RETRY);
    return;
  }
  for (const id of ["models", "score-models"]) buildChoice(find(id));
  fillModels();
  if (!allModels().length) announce("no_models");
  const lengths = allModels().map((model) => model.max_characters ?? Infinity);
  if (Number.isFinite(Math.min(...lengths))) boundLength(Math.min(...lengths));
  document.body.dataset.ready = "true";
  followAddress();
}

function followAddress() {
  const link = readLink();
  if (!link) return;
  openView("generate");
  writeLink(link);
}

buildParameters();
buildLegends();
startTheme();
startLanguage();
startSettings();
startTabs();
startKeys();
startToken();
startGenerate(openView);
startScore();
startCells();
startLive();
addEventListener("hashchange", followAddress);
learnModels();
