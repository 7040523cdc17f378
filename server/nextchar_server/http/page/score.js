/** The view that scores a pasted text with one or several models. */
import { score } from "./api.js";
import { announce, empty } from "./frame.js";
import { chosenModels, hasAlternatives } from "./models.js";
import { Pane } from "./pane.js";
import { words } from "./words.js";

const ALTERNATIVES = 5;
const MOST_DETAILS = 2047; // symbols of an alphabet that has ranks and entropies

const find = (id) => document.getElementById(id);
const panes = find("score-panes");
let abort = null;

/** Wires the view. */
export function startScore() {
  empty(panes, "score_empty");
  find("score-form").addEventListener("submit", (event) => {
    event.preventDefault();
    scoreText();
  });
}

/** Scores `text`. */
export function scoreThis(text) {
  find("score-text").value = text;
  scoreText();
}

/** Stops scoring; returns whether there was something to stop. */
export function stopScoring() {
  const isBusy = abort !== null;
  abort?.abort();
  return isBusy;
}

async function scoreText() {
  const models = chosenModels(find("score-models"));
  const text = find("score-text").value;
  if (!text || !models.length) {
    (models.length ? find("score-text") : find("score-models").querySelector("input"))?.focus();
    return;
  }
  stopScoring();
  const mine = (abort = new AbortController());
  const shown = models.map((model) => [model, new Pane(model.id)]);
  panes.replaceChildren(...shown.map(([, pane]) => pane.element));
  panes.dataset.count = shown.length;
  await Promise.all(shown.map(([model, pane]) => scoreWith(model, text, pane, mine.signal)));
  if (abort === mine) abort = null;
}

async function scoreWith(model, text, pane, signal) {
  pane.tell("scoring");
  try {
    const result = await score(requestOf(model, text), signal);
    pane.append(result.characters.map(placeOf));
    pane.count([
      ["stat_bits", { bits: result.bits_per_character }],
      ["stat_total", { bits: Math.round(-result.total_logprob / Math.LN2) }],
      ["stat_characters", { count: result.characters.length }],
    ]);
    pane.tell("state_done");
    announce("announce_scored", { bits: result.bits_per_character });
  } catch (error) {
    const isStopped = error.name === "AbortError";
    pane.tell(isStopped ? "state_stopped" : "state_error", { message: error.message || words("live_away") });
    if (!isStopped) announce("state_error", { message: error.message });
    if (error.status === 401) document.dispatchEvent(new CustomEvent("locked"));
  }
}

function requestOf(model, text) {
  const request = { model: model.id, text };
  if (hasAlternatives(model)) {
    request.top_logprobs = ALTERNATIVES;
    request.details = model.alphabet.length <= MOST_DETAILS;
  }
  if (find("score-skip").checked) request.unknown_characters = "skip";
  return request;
}

function placeOf({ character, logprob, rank, entropy, top_logprobs: alternatives = [] }) {
  const all = (alternatives ?? []).map((other) => [other.character, other.logprob]);
  return { character, logprob, rank, entropy: entropy ?? undefined, alternatives: all };
}
