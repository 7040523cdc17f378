/** The view of the inside: one gate or state of one unit along a text, and the units that follow a feature best. */
import { Activations } from "./activations.js";
import { visible } from "./characters.js";
import { ColouredText } from "./coloured_text.js";
import { FEATURES, isPresent, rank } from "./features.js";
import { activationLegend, announce } from "./frame.js";
import { allModels, modelNamed } from "./models.js";
import { drawStrip } from "./strip.js";
import { hush, number, say, words } from "./words.js";

const SHOWN = 8; // units in the table of those found
const QUANTITIES = {
  lstm: ["cell", "hidden", "input", "forget", "output", "candidate"],
  gru: ["hidden", "reset", "update", "candidate"],
  rnn: ["hidden"],
};
const FROM_ZERO = new Set(["input", "forget", "output", "reset", "update"]);

const find = (id) => document.getElementById(id);
const [model, layer, quantity, unit] = ["model", "layer", "quantity", "unit"].map((name) => find(`cells-${name}`));
const value = find("cells-value");
const state = find("cells-state");

let activations = null; // of the text that was read
let column = null; // the values that are shown
let mark = () => {};
let abort = null;
let text;

/** Wires the view. */
export function startCells() {
  text = new ColouredText(find("cells-result"), lookAt);
  find("cells-form").addEventListener("submit", (event) => {
    event.preventDefault();
    read();
  });
  model.addEventListener("change", () => (fillChoices(), activations && read()));
  layer.addEventListener("change", () => activations && read());
  for (const field of [quantity, unit]) field.addEventListener("change", () => (explain(), draw()));
  find("unit-previous").addEventListener("click", () => step(-1));
  find("unit-next").addEventListener("click", () => step(1));
  find("find-go").addEventListener("click", search);
  document.addEventListener("language", () => (nameChoices(), draw()));
}

/** Takes the models of the server. */
export function fillModels() {
  model.replaceChildren(...allModels().map(({ id }) => new Option(id, id)));
  fillChoices();
}

/** Reads `text` into the network. */
export function readThis(newText) {
  find("cells-text").value = newText;
  read();
}

/** Stops reading; returns whether there was something to stop. */
export function stopReading() {
  const isBusy = abort !== null;
  abort?.abort();
  return isBusy;
}

function fillChoices() {
  const chosen = modelNamed(model.value);
  if (!chosen) return;
  layer.replaceChildren(...Array.from({ length: chosen.layers ?? 1 }, (_, n) => new Option(String(n), String(n))));
  quantity.replaceChildren(...(QUANTITIES[chosen.cell] ?? ["hidden"]).map((name) => new Option(name, name)));
  unit.max = chosen.hidden_size - 1;
  unit.value = Math.min(unit.value, unit.max);
  find("found").hidden = true;
  nameChoices();
}

function nameChoices() {
  for (const option of quantity.options) option.textContent = words(`quantity_${option.value}`);
  const feature = find("find-feature");
  const before = feature.value;
  feature.replaceChildren(...Object.keys(FEATURES).map((name) => new Option(words(`feature_${name}`), name)));
  if (before) feature.value = before;
  explain();
}

function explain() {
  if (quantity.value) say(find("quantity-meaning"), `quantity_${quantity.value}_help`);
}

function step(by) {
  const size = Number(unit.max) + 1;
  unit.value = (Number(unit.value) + by + size) % size;
  draw();
}

async function read() {
  const newText = find("cells-text").value;
  if (!newText) {
    find("cells-text").focus();
    return;
  }
  find("found").hidden = true;
  activations = new Activations(modelNamed(model.value), Number(layer.value), newText);
  await draw();
}

/** Runs `work(signal)`, of which there is one at a time, and shows how it ends. */
async function busy(work) {
  stopReading();
  const mine = (abort = new AbortController());
  say(state, "reading");
  state.className = "state running";
  try {
    await work(mine.signal);
    if (abort !== mine) return false;
    if (activations.isWhole) hush(state);
    else say(state, "read_part", { count: activations.characters.length });
    state.className = "state";
    return true;
  } catch (error) {
    if (abort !== mine) return false;
    if (error.name === "AbortError") say(state, "state_stopped");
    else say(state, "state_error", { message: error.message });
    state.className = `state ${error.name === "AbortError" ? "" : "error"}`;
    if (error.status === 401) document.dispatchEvent(new CustomEvent("locked"));
    return false;
  } finally {
    if (abort === mine) abort = null;
  }
}

async function draw() {
  if (!activations) return;
  const chosen = Math.max(0, Math.min(Number(unit.max), Math.trunc(Number(unit.value)) || 0));
  unit.value = chosen;
  const shown = quantity.value;
  const isRead = await busy(async (signal) => {
    column = await activations.column(chosen, shown, signal);
  });
  if (isRead) paint(chosen, shown);
}

function paint(chosen, shown) {
  const most = shown === "cell" ? Math.max(...column.map(Math.abs), 0.01) : 1;
  const low = FROM_ZERO.has(shown) ? 0 : -most;
  const tintOf = (one) => `t${Math.round(10 * Math.max(-1, Math.min(1, one / most))) || 0}`;
  activationLegend(document.querySelector('[data-legend="activation"]'), low, most);
  text.clear();
  text.append(activations.characters.map((character) => ({ character })), () => "t0");
  text.tint((_, n) => tintOf(column[n]));
  const label = words("strip_label", { quantity: words(`quantity_${shown}`), unit: chosen });
  mark = drawStrip(find("strip"), column, { low, most, tintOf, label, choose: (n) => text.choose(n, false) });
  for (const id of ["strip", "cells-result"]) find(id).hidden = false;
  find("cells-result").setAttribute("aria-label", label);
  find("cells-empty").hidden = true;
  for (const row of find("found").tBodies[0].rows) row.ariaCurrent = Number(row.dataset.unit) === chosen ? "true" : null;
}

function lookAt(place, n, _span, byKeyboard) {
  mark(place === null ? null : n);
  if (place === null) {
    hush(value);
    return;
  }
  const said = {
    place: n + 1,
    character: visible(place.character),
    quantity: words(`quantity_${quantity.value}`),
    value: signed(column[n]),
  };
  say(value, "value", said);
  if (byKeyboard) announce("value", said);
}

async function search() {
  if (!activations) await read();
  if (!activations) return;
  const feature = FEATURES[find("find-feature").value](activations.characters);
  if (!isPresent(feature)) {
    say(state, "feature_missing");
    announce("feature_missing");
    return;
  }
  const progress = find("find-progress");
  progress.hidden = false;
  let ranked = [];
  const isFound = await busy(async (signal) => {
    const columns = await activations.all(quantity.value, (share) => (progress.value = share), signal);
    ranked = rank(columns, feature).slice(0, SHOWN);
  });
  progress.hidden = true;
  if (!isFound) return;
  find("found").tBodies[0].replaceChildren(...ranked.map(rowOf));
  find("found").hidden = false;
  unit.value = ranked[0].unit;
  await draw();
  const best = { unit: ranked[0].unit, r: signed(ranked[0].r), check: signed(ranked[0].check) };
  say(state, "found", best);
  announce("found", best);
}

function rowOf({ unit: one, r, check }) {
  const row = document.createElement("tr");
  row.dataset.unit = one;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = one;
  button.addEventListener("click", () => {
    unit.value = one;
    draw();
  });
  const bar = document.createElement("i");
  bar.style.width = `${100 * Math.abs(r)}%`;
  bar.className = r < 0 ? "low" : "high";
  const cells = [button, signed(r), signed(check), bar].map((content) => {
    const cell = document.createElement("td");
    cell.append(content);
    return cell;
  });
  row.append(...cells);
  return row;
}

function signed(one) {
  const digits = Math.abs(one).toFixed(2);
  return (one < 0 && Number(digits) ? "−" : "+") + digits.replace(".", number(0.5).includes(",") ? "," : ".");
}
