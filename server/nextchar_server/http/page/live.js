/** Live numbers of the server, from its metrics if they are open to the reader. */
import { metrics } from "./api.js";
import { number, say } from "./words.js";

const PERIOD = 2000; // milliseconds between two looks, while the page is in sight
const GAUGES = {
  live_streams: "nextchar_active_streams",
  live_waiting: "nextchar_waiting_requests",
  live_paused: "nextchar_paused_streams",
};

const dot = document.getElementById("live-dot");
const server = document.getElementById("live-server");
const list = document.getElementById("live");
let before = null; // sums of the look before, to tell what came since

/** Looks from now on. */
export function startLive() {
  look();
}

async function look() {
  if (!document.hidden) await lookOnce();
  setTimeout(look, PERIOD);
}

async function lookOnce() {
  try {
    const samples = parse(await metrics());
    tell("live_ready", "ready");
    show(samples);
  } catch (error) {
    const isLocked = error.status === 401 || error.status === 403;
    const isOpen = isLocked || error.status === 404;
    tell(isLocked ? "live_locked" : isOpen ? "live_ready" : "live_away", isOpen ? "ready" : "away");
    list.replaceChildren();
    before = null;
  }
}

function tell(key, kind) {
  say(server, key);
  dot.className = `dot ${kind}`;
}

function show(samples) {
  const now = {
    at: performance.now(),
    rows: samples.get("nextchar_batch_rows_sum") ?? 0,
    turns: samples.get("nextchar_batch_rows_count") ?? 0,
    characters: samples.get("nextchar_generated_characters_total") ?? 0,
  };
  const values = [];
  if (before && now.turns >= before.turns) {
    const turns = now.turns - before.turns;
    values.push(["live_rate", number((1000 * (now.characters - before.characters)) / (now.at - before.at), 0)]);
    values.push(["live_rows", turns ? number((now.rows - before.rows) / turns, 1) : "–"]);
  }
  for (const [key, name] of Object.entries(GAUGES)) {
    if (samples.has(name)) values.push([key, number(samples.get(name), 0)]);
  }
  before = now;
  list.replaceChildren(...values.map(pair));
}

function pair([key, value]) {
  const one = document.createElement("div");
  const term = document.createElement("dt");
  const what = document.createElement("dd");
  say(term, key);
  what.textContent = value;
  one.append(what, term);
  return one;
}

/** Returns the sum over all labels of each sample of a Prometheus text. */
export function parse(text) {
  const sums = new Map();
  for (const line of text.split("\n")) {
    const match = /^(nextchar_\w+)(?:\{.*\})? (\S+)/.exec(line);
    if (match) sums.set(match[1], (sums.get(match[1]) ?? 0) + Number(match[2]));
  }
  return sums;
}
