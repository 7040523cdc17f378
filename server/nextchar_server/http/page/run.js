/**
 * One text of one model, from its request to its end, over as many connections as it takes.
 *
 * Invariant: the text is the one that an undisturbed stream would have brought. After a cut, it continues behind the
 * last event that arrived. If the server can't, such as one that has another model file now, the text is written again
 * with the same seed, and compared with what is there.
 */
import { ApiError, Cut, complete } from "./api.js";

const LONGEST_PAUSE = 5; // seconds between two tries
const AWAY = new Set([502, 503, 504]);
const FORGOTTEN = new Set([400, 409]); // of an id that the server can't use any more
const DRAINED = "draining";

/** The server writes another text than before. */
class Changed extends Error {}

export class Run {
  /** `listener` has `state(key, values)` and `places(places)`, called with what is new. */
  constructor(request, seed, listener) {
    this.request = request;
    this.seed = seed;
    this.listener = listener;
    this.places = []; // {character, logprob, alternatives: [[character, logprob]]}
    this.toRepeat = 0; // characters at the end of `places` that the stream will bring once more
    this.lastId = null;
    this.known = 0; // characters before `lastId`
    this.digest = null;
    this.finish = null;
    this.error = null;
    this.continuations = 0;
    this.seconds = 0; // in which characters came
    this.untilFirst = null; // milliseconds
    this.abort = null;
  }

  get isRunning() {
    return this.abort !== null;
  }

  get text() {
    return this.places.map((place) => place.character).join("");
  }

  /** Characters per second, or null if there are too few. */
  get rate() {
    return this.seconds > 0.005 && this.places.length > 1 ? (this.places.length - 1) / this.seconds : null;
  }

  /** Mean surprise in bits per character, or null without any. */
  get bits() {
    const scored = this.places.filter((place) => place.logprob !== null);
    return scored.length ? scored.reduce((sum, place) => sum - place.logprob, 0) / Math.LN2 / scored.length : null;
  }

  /** How the text ended, as the key of words. */
  get end() {
    if (this.finish === "length") return "state_length";
    if (this.finish !== "stop") return "state_done";
    if (this.stopSequence) return "state_stop";
    return this.request.regex || this.request.json_schema ? "state_complete" : "state_document";
  }

  /** Runs until the text ends, is stopped, or can't be had. Never raises. */
  async start() {
    this.abort = new AbortController();
    this.finish = this.error = null;
    this.isPausing = this.isLate = this.wasCut = false;
    this.asked = performance.now();
    this.cameAt = null; // when the latest event of this start came
    this.listener.state("state_waiting");
    this.watch = setInterval(() => this.lookAround(), 500);
    let tries = 0;
    try {
      while (this.finish === null) {
        const before = this.places.length;
        try {
          await this.stream();
        } catch (error) {
          tries = this.places.length > before ? 0 : tries + 1;
          await this.pauseAfter(error, tries);
        }
      }
      this.listener.state(this.end);
    } catch (error) {
      this.error = error.name === "AbortError" ? null : error;
      if (error instanceof Changed) this.listener.state("state_changed");
      else if (this.error) this.listener.state("state_error", { message: error.message });
      else this.listener.state("state_stopped");
    } finally {
      clearInterval(this.watch);
      this.abort = null;
    }
  }

  stop() {
    this.abort?.abort();
  }

  /** Writes `more` characters behind the end, or the rest of a text that was stopped. */
  async continue(more) {
    if (this.finish !== null) this.request = { ...this.request, max_tokens: this.places.length + more };
    await this.start();
  }

  async stream() {
    const { seed, lastId } = this;
    this.toRepeat = this.places.length - this.known;
    for await (const { id, chunk } of complete(this.request, { seed, lastId, signal: this.abort.signal })) {
      this.take(chunk, id);
    }
    this.finish ??= "done";
  }

  take(chunk, id) {
    const [choice] = chunk.choices ?? [];
    this.digest = chunk.model_digest ?? this.digest;
    if (choice?.text) {
      const now = performance.now();
      if (this.untilFirst === null) this.untilFirst = now - this.asked;
      if (this.cameAt !== null) this.seconds += (now - this.cameAt) / 1000;
      if (this.cameAt === null || this.isLate) this.listener.state("state_running");
      if (this.wasCut) this.continuations += 1;
      this.isLate = this.wasCut = false;
      this.cameAt = now;
      const places = this.withoutRepeated(placesOf(choice));
      this.places.push(...places);
      this.listener.places(places);
    }
    const isEnd = choice?.finish_reason && choice.finish_reason !== DRAINED;
    if (id && this.toRepeat === 0 && !isEnd) {
      this.lastId = id;
      this.known = this.places.length;
    }
    if (isEnd) this.finish = choice.finish_reason;
    if (choice?.finish_reason) this.stopSequence = choice.stop_sequence ?? chunk.stop_sequence ?? "";
    if (choice?.finish_reason === DRAINED) throw new Cut("the server is shutting down");
  }

  /** Returns the places that are new. Raises `Changed` if the others aren't those that are there. */
  withoutRepeated(places) {
    const repeated = places.slice(0, this.toRepeat);
    const first = this.places.length - this.toRepeat;
    if (repeated.some(({ character }, n) => character !== this.places[first + n].character)) throw new Changed();
    this.toRepeat -= repeated.length;
    return places.slice(repeated.length);
  }

  /** Whether `error` means that the text has to be written again from its beginning; prepares for that. */
  startsAgain(error) {
    const isForgotten = error instanceof ApiError && FORGOTTEN.has(error.status) && this.lastId !== null;
    if (!isForgotten) return false;
    this.lastId = null;
    this.known = 0;
    return true;
  }

  lookAround() {
    if (this.isPausing) return;
    const seconds = Math.floor((performance.now() - (this.cameAt ?? this.asked)) / 1000);
    if (seconds < 2) return;
    this.isLate = true;
    this.listener.state(this.cameAt === null ? "state_waiting_long" : "state_slow", { seconds });
  }

  /** Waits as long as the server asks, or longer at each try, and tells the seconds that are left. */
  async pauseAfter(error, tries) {
    if (this.startsAgain(error)) return;
    const isFull = error instanceof ApiError && error.status === 429;
    const isUnready = error instanceof ApiError && AWAY.has(error.status);
    if (!isFull && !isUnready && !(error instanceof Cut)) throw error;
    this.wasCut ||= error instanceof Cut && this.places.length > 0;
    const isLimited = isFull && error.code.startsWith("caller");
    const key = isLimited ? "state_limited" : isFull ? "state_full" : isUnready ? "state_unready" : "state_lost";
    const seconds = error.retryAfter ?? Math.min(2 ** (tries - 1), LONGEST_PAUSE);
    this.isPausing = true;
    this.isLate = true;
    for (let left = Math.ceil(seconds); left > 0; left -= 1) {
      this.listener.state(key, { seconds: left });
      await pause(Math.min(seconds, 1), this.abort.signal);
    }
    this.isPausing = false;
    this.listener.state("state_retrying");
    this.asked = performance.now();
    this.cameAt = null;
  }
}

/** Returns the characters of a chunk's or a completion's choice, with what is known of each. */
function placesOf({ text, logprobs }) {
  const characters = logprobs?.tokens ?? [...text];
  return characters.map((character, n) => ({
    character,
    logprob: logprobs?.token_logprobs?.[n] ?? null,
    alternatives: sorted(Object.entries(logprobs?.top_logprobs?.[n] ?? {})),
  }));
}

/** Likeliest first: JavaScript puts the keys of an object that are digits before all others. */
function sorted(alternatives) {
  return alternatives.sort((one, other) => other[1] - one[1]);
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stopped = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stopped);
      resolve();
    }, 1000 * seconds);
    if (signal.aborted) stopped();
    else signal.addEventListener("abort", stopped, { once: true });
  });
}
