/**
 * The settings of a text: their fields, each with its meaning in a line, and their values.
 *
 * Invariant: a setting at its default is neither sent to the server nor written into a link, except the length.
 */
import { sayIn, words, say } from "./words.js";

const MOST_SEED = 2n ** 64n - 1n;

/** `kind`: "number" with `least`, `most` and `step`, a slider too if `slides`; "seed", "line", "lines" or "check". */
const PARAMETERS = [
  { name: "max_tokens", kind: "number", initial: 400, least: 1, most: 10000, step: 1 },
  { name: "temperature", kind: "number", initial: 1, least: 0, most: 2, step: 0.05, slides: true, highest: 100 },
  { name: "top_p", kind: "number", initial: 1, least: 0.01, most: 1, step: 0.01, slides: true },
  { name: "seed", kind: "seed", initial: "" },
  { name: "stop_texts", kind: "lines", initial: "" },
  { name: "top_k", kind: "number", initial: 0, least: 0, most: 1000000, step: 1, isMore: true },
  { name: "min_p", kind: "number", initial: 0, least: 0, most: 1, step: 0.01, slides: true, isMore: true },
  { name: "min_characters", kind: "number", initial: 0, least: 0, most: 10000, step: 1, isMore: true },
  { name: "logit_bias", kind: "line", initial: "", isMore: true },
  { name: "regex", kind: "line", initial: "", isMore: true },
  { name: "json_schema", kind: "lines", initial: "", isMore: true },
  { name: "skip_unknown", kind: "check", initial: false, isMore: true },
];

/** A value that can't be sent: `field` is its element. */
export class InvalidValue extends Error {
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

/** Puts the fields into the page. */
export function buildParameters() {
  for (const parameter of PARAMETERS) {
    const place = document.getElementById(parameter.isMore ? "more-parameters" : "parameters");
    place.append(rowOf(parameter));
  }
  document.getElementById("reset").addEventListener("click", () => writeValues(new Map()));
}

/** Bounds the length by what the models allow. */
export function boundLength(most) {
  for (const name of ["max_tokens", "min_characters"]) {
    fieldOf({ name }).max = most;
    PARAMETERS.find((parameter) => parameter.name === name).most = most;
  }
}

/** Returns the names and values, as text, of the settings that aren't at their defaults. */
export function readValues() {
  const values = new Map();
  for (const parameter of PARAMETERS) {
    const value = textOf(parameter);
    if (value !== String(parameter.initial)) values.set(parameter.name, value);
  }
  return values;
}

/** Sets all settings: those that `values` lacks to their defaults. */
export function writeValues(values) {
  for (const parameter of PARAMETERS) {
    const field = fieldOf(parameter);
    const value = values.get(parameter.name) ?? String(parameter.initial);
    if (parameter.kind === "check") field.checked = value === "true";
    else field.value = value;
    if (parameter.isMore && values.has(parameter.name)) field.closest("details").open = true;
    field.dispatchEvent(new Event("input"));
  }
}

/** Returns the fields of a request, without its seed. Raises `InvalidValue`. */
export function requestFields() {
  const values = readValues();
  const fields = { max_tokens: numberOf("max_tokens") };
  for (const name of ["temperature", "top_p", "top_k", "min_p", "min_characters"]) {
    if (values.has(name)) fields[name] = numberOf(name);
  }
  if (values.has("stop_texts")) fields.stop = stopTexts(values.get("stop_texts"));
  if (values.has("logit_bias")) fields.logit_bias = biases(values.get("logit_bias"));
  for (const name of ["regex", "json_schema"]) if (values.has(name)) fields[name] = values.get(name);
  if (values.has("skip_unknown")) fields.unknown_characters = "skip";
  return fields;
}

/** Returns the seed that the reader asks for, as digits, or a new one. Raises `InvalidValue`. */
export function chosenSeed() {
  const field = fieldOf({ name: "seed" });
  const value = field.value.trim();
  if (value === "") return newSeed();
  if (!/^\d{1,20}$/.test(value) || BigInt(value) > MOST_SEED) throw new InvalidValue(words("invalid_seed"), field);
  return String(BigInt(value));
}

/** Returns a seed of 32 bits, which is short enough to be told to somebody. */
export function newSeed() {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

function numberOf(name) {
  const { least, most, highest = most } = PARAMETERS.find((parameter) => parameter.name === name);
  const field = fieldOf({ name });
  const value = field.valueAsNumber;
  if (!(value >= least && value <= highest)) {
    throw new InvalidValue(words("invalid", { name: words(name), least, most: highest }), field);
  }
  return value;
}

function stopTexts(text) {
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line) => line.replace(/\\([nt\\])/g, (_, sign) => ({ n: "\n", t: "\t", "\\": "\\" })[sign]));
}

function biases(text) {
  const found = [...text.matchAll(/(.)=(-?\d+(?:\.\d+)?)(?: +|$)/guy)];
  if (found.map((match) => match[0]).join("") !== text || found.some((match) => Math.abs(match[2]) > 100)) {
    throw new InvalidValue(words("invalid_bias"), fieldOf({ name: "logit_bias" }));
  }
  return Object.fromEntries(found.map((match) => [match[1], Number(match[2])]));
}

function textOf(parameter) {
  const field = fieldOf(parameter);
  return parameter.kind === "check" ? String(field.checked) : field.value;
}

function fieldOf({ name }) {
  return document.getElementById(`p-${name}`);
}

function rowOf(parameter) {
  const { name, kind } = parameter;
  const row = document.createElement("div");
  row.className = `parameter ${kind}`;
  const label = document.createElement("label");
  label.htmlFor = `p-${name}`;
  say(label, name);
  const help = document.createElement("p");
  help.className = "meaning";
  help.id = `p-${name}-help`;
  say(help, `${name}_help`);
  const field = document.createElement(kind === "lines" ? "textarea" : "input");
  field.id = `p-${name}`;
  field.setAttribute("aria-describedby", help.id);
  field.spellcheck = false;
  if (kind === "check") field.type = "checkbox";
  else field.value = parameter.initial;
  if (kind === "lines") field.rows = name === "json_schema" ? 3 : 2;
  if (kind === "number") Object.assign(field, { type: "number", min: parameter.least, step: parameter.step, required: true });
  if (kind === "number") field.max = parameter.highest ?? parameter.most;
  if (kind === "seed") {
    field.inputMode = "numeric";
    sayIn(field, "wordPlaceholder", "seed_placeholder");
  }
  row.append(label, field);
  if (parameter.slides) row.append(sliderOf(parameter, field));
  row.append(help);
  return row;
}

/** A slider beside the number of a field: for the pointer only, since the number does the same for the keyboard. */
function sliderOf({ least, most, step, initial }, field) {
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: least, max: most, step, value: initial, tabIndex: -1 });
  slider.setAttribute("aria-hidden", "true");
  slider.addEventListener("input", () => (field.value = slider.value));
  field.addEventListener("input", () => (slider.value = field.value));
  return slider;
}
