/** The models of the server, and the fields that choose some of them. */
import { sayIn } from "./words.js";

let models = [];

/** Takes the server's models, as `listModels` returns them. */
export function setModels(list) {
  models = list;
}

export function allModels() {
  return models;
}

export function modelNamed(id) {
  return models.find((model) => model.id === id);
}

/** Whether the characters of a model have alternatives to show: each is one symbol of its alphabet. */
export function hasAlternatives(model) {
  const symbols = model.alphabet ?? [];
  return model.alphabet_kind === "characters" && !symbols.includes("\ufffe") && !symbols.includes("\uffff");
}

/** Puts a box to tick for each model into `place`; the first one is ticked. With one model there is nothing to choose. */
export function buildChoice(place) {
  place.replaceChildren();
  models.forEach((model, n) => {
    const label = document.createElement("label");
    label.className = "chip";
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", value: model.id, checked: n === 0 });
    label.append(box, model.id);
    describe(label, model);
    place.append(label);
  });
}

/** Returns the models that are ticked in `place`. */
export function chosenModels(place) {
  return [...place.querySelectorAll("input:checked")].map((box) => modelNamed(box.value));
}

/** Ticks those models in `place` whose names are in `ids`. */
export function chooseModels(place, ids) {
  for (const box of place.querySelectorAll("input")) box.checked = ids.includes(box.value);
}

function describe(element, { cell, layers, hidden_size: size, parameters, alphabet, alphabet_kind: kind }) {
  if (!cell) return;
  const values = { cell: cell.toUpperCase(), layers, size, parameters, symbols: alphabet?.length ?? 0, alphabet: kind };
  sayIn(element, "wordTitle", "model_title", values);
}
