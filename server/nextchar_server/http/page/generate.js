/** The view that writes: a prompt, one pane for each chosen model, and the buttons around them. */
import { announce, copy, empty } from "./frame.js";
import { linkTo } from "./link.js";
import { chooseModels, chosenModels, hasAlternatives, modelNamed } from "./models.js";
import { Pane } from "./pane.js";
import { InvalidValue, chosenSeed, newSeed, readValues, requestFields, writeValues } from "./parameters.js";
import { Run } from "./run.js";
import { hush, say, words } from "./words.js";

const ALTERNATIVES = 5;
const COUNTING = 250; // milliseconds between two counts of a text that comes

const find = (id) => document.getElementById(id);
const prompt = find("prompt");
const panes = find("panes");
const note = find("link-note");

let texts = []; // {run, pane, model} of each pane
let latest = null; // what the latest texts were asked for, as `linkTo` takes it
let show; // shows another view with a text

/** Wires the view. `open(view, text)` opens another one with a text. */
export function startGenerate(open) {
  show = open;
  empty(panes, "empty");
  find("generate-form").addEventListener("submit", (event) => {
    event.preventDefault();
    write();
  });
  find("generate-stop").addEventListener("click", stop);
  find("generate-again").addEventListener("click", () => write(latest.seed));
  find("generate-new").addEventListener("click", () => write(newSeed()));
  find("generate-link").addEventListener("click", (event) => copy(linkTo(latest), event.currentTarget));
}

/** Stops all texts; returns whether there was one. */
export function stop() {
  const running = texts.filter(({ run }) => run.isRunning);
  running.forEach(({ run }) => run.stop());
  return running.length > 0;
}

/** Writes the text of a link. */
export function writeLink(link) {
  prompt.value = link.prompt;
  writeValues(new Map([...link.values, ["seed", link.seed]]));
  if (link.models.length) chooseModels(find("models"), link.models.map(({ id }) => id));
  write();
  const other = link.models.find(({ id, digest }) => digest && !modelNamed(id)?.digest?.startsWith(digest));
  if (other) complain("other_file", { model: other.id });
}

/** Writes a text for each chosen model, all with the same prompt and seed. */
export function write(seed) {
  const models = chosenModels(find("models"));
  let request;
  try {
    if (!models.length) throw new InvalidValue(words("no_model"), find("models").querySelector("input") ?? prompt);
    request = { prompt: prompt.value, ...requestFields() };
    seed ??= chosenSeed();
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    refuse(error);
    return;
  }
  stop();
  note.hidden = true;
  latest = { prompt: request.prompt, seed, models, values: readValues() };
  history.replaceState(null, "", linkTo(latest));
  texts = models.map((model) => begin(model, request, seed));
  panes.replaceChildren(...texts.map(({ pane }) => pane.element));
  panes.dataset.count = texts.length;
  announce("announce_started");
  follow(texts, texts.map(({ run }) => run.start()));
}

function begin(model, request, seed) {
  const logprobs = hasAlternatives(model) ? ALTERNATIVES : 0;
  const own = {};
  const pane = new Pane(model.id, [
    ["continue", () => goOn(own)],
    ["copy", (event) => copy(own.run.text, event.currentTarget)],
    ["to_score", () => show("score", request.prompt + own.run.text)],
    ["to_cells", () => show("cells", request.prompt + own.run.text)],
  ]);
  pane.clear(request.prompt);
  const listener = { state: (key, values) => pane.tell(key, values), places: (places) => pane.append(places) };
  return Object.assign(own, { model, pane, run: new Run({ model: model.id, ...request, logprobs }, seed, listener) });
}

/** Continues one text; the link then has its whole length. */
function goOn({ run, pane }) {
  const isWhole = run.finish !== null;
  const more = requestFields().max_tokens;
  if (isWhole) {
    latest = { ...latest, values: new Map([...latest.values, ["max_tokens", String(run.places.length + more)]]) };
    history.replaceState(null, "", linkTo(latest));
  }
  follow(texts.filter((text) => text.run === run), [run.continue(more)]);
  pane.text.element.focus();
}

/** Keeps numbers and buttons up to date until all of `runs` are over. */
async function follow(these, runs) {
  buttons();
  const timer = setInterval(() => these.forEach(count), COUNTING);
  await Promise.all(runs);
  clearInterval(timer);
  these.forEach(count);
  if (!these.every((text) => texts.includes(text))) return; // others have taken their place
  buttons();
  const failed = these.find(({ run }) => run.error);
  if (failed) announce("state_error", { message: failed.pane.state.textContent });
  else announce("announce_done", { count: these.reduce((sum, { run }) => sum + run.places.length, 0) });
  if (failed?.run.error.status === 401) document.dispatchEvent(new CustomEvent("locked"));
}

function count({ run, pane }) {
  const { rate, untilFirst, bits } = run;
  const stats = [["stat_characters", { count: run.places.length }]];
  if (rate !== null) stats.push(["stat_rate", { rate: Math.round(rate) }]);
  if (untilFirst !== null) stats.push(["stat_first", { milliseconds: Math.max(1, Math.round(untilFirst)) }]);
  if (bits !== null) stats.push(["stat_bits", { bits }]);
  stats.push(["stat_seed", { seed: run.seed }]);
  if (run.continuations) stats.push(["continued", { count: run.continuations }]);
  pane.count(stats);
}

function buttons() {
  const isRunning = texts.some(({ run }) => run.isRunning);
  const hadFocus = [find("generate-go"), find("generate-stop")].includes(document.activeElement);
  find("generate-go").hidden = isRunning;
  find("generate-stop").hidden = !isRunning;
  if (hadFocus) find(isRunning ? "generate-stop" : "generate-go").focus();
  for (const id of ["generate-again", "generate-new"]) find(id).disabled = isRunning;
  find("generate-link").disabled = false;
  for (const { run, pane } of texts) {
    const canContinue = !run.isRunning && !run.error && run.lastId !== null;
    pane.enable("continue", canContinue && (run.finish === null || run.finish === "length"));
    for (const key of ["copy", "to_score", "to_cells"]) pane.enable(key, !run.isRunning && run.places.length > 0);
  }
}

function refuse({ message, field }) {
  field.closest("details:not([open])")?.setAttribute("open", "");
  field.focus();
  complain("state_error", { message });
  const forget = () => {
    note.hidden = true;
    hush(note);
  };
  field.addEventListener("input", forget, { once: true });
}

function complain(key, values) {
  say(note, key, values);
  note.hidden = false;
  announce(key, values);
}
