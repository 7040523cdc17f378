/**
 * The calls of the HTTP API: models, scores, and texts that stream.
 *
 * Invariant: a stream that ends without its end raises `Cut`, so that nobody takes a part for the whole.
 */
import { readEvents } from "./events.js";

const FIELD = "nextchar-token";
const PATIENCE = 10_000; // milliseconds for an answer that is known at once

/** An answer that is an error: `status`, `code`, `message`, and `retryAfter` in seconds (null if it names none). */
export class ApiError extends Error {
  constructor(status, { code = "", message }, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code ?? "";
    this.retryAfter = retryAfter;
  }
}

/** The connection ended before the answer did. */
export class Cut extends Error {}

/** Whether this tab has a token. */
export function hasToken() {
  return sessionStorage.getItem(FIELD) !== null;
}

/** Remembers the token of this tab; an empty one is forgotten. */
export function setToken(token) {
  if (token) sessionStorage.setItem(FIELD, token);
  else sessionStorage.removeItem(FIELD);
}

function headers(more = {}) {
  const token = sessionStorage.getItem(FIELD);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "omit", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Cut(error.message);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const seconds = Number(response.headers.get("Retry-After"));
  const error = body?.error ?? { message: `${response.status} ${response.statusText}` };
  throw new ApiError(response.status, error, response.headers.has("Retry-After") && seconds >= 0 ? seconds : null);
}

/** Returns the models of the server, those that requests can reach. */
export async function listModels() {
  const { data } = await (await answer("v1/models", { headers: headers(), signal: AbortSignal.timeout(PATIENCE) })).json();
  const names = new Set();
  return data.filter((model) => model.is_current !== false && !names.has(model.id) && names.add(model.id));
}

/** Returns the score of a text: `request` is the body of /v1/score with one `text`. */
export async function score(request, signal) {
  const response = await answer("v1/score", {
    method: "POST",
    headers: headers({ "Content-Type": "application/json" }),
    body: JSON.stringify(request),
    signal,
  });
  const body = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Cut(error.message);
  });
  return { ...body.scores[0], digest: body.model_digest };
}

/**
 * Streams a text: yields `{id, chunk}`, the id and the chunk of each event. With `lastId`, only those that
 * follow it. `seed`, a string of digits, may have more of them than a JavaScript number.
 */
export async function* complete(request, { seed, lastId, signal }) {
  const response = await answer("v1/completions", {
    method: "POST",
    headers: headers({ "Content-Type": "application/json", ...(lastId ? { "Last-Event-ID": lastId } : {}) }),
    body: JSON.stringify({ ...request, stream: true }).replace(/\}$/, seed === null ? "}" : `,"seed":${seed}}`),
    signal,
  });
  if (response.status === 204) return;
  for await (const { id, data } of readEvents(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(500, chunk.error);
    yield { id, chunk };
  }
  throw new Cut("the stream ended early");
}

/** Returns the metrics as text. */
export async function metrics() {
  const signal = AbortSignal.timeout(PATIENCE);
  return (await answer("metrics", { headers: headers({ Accept: "text/plain" }), signal })).text();
}
