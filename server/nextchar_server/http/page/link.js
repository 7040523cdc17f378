/**
 * The address of a text: its prompt, models, seed and settings in the fragment, which no browser sends to a server.
 */

/** Returns the address of this page with `{prompt, seed, models: [{id, digest}], values}` in its fragment. */
export function linkTo({ prompt, seed, models, values }) {
  const fields = new URLSearchParams();
  fields.set("prompt", prompt);
  fields.set("seed", seed);
  for (const { id, digest } of models) fields.append("model", digest ? `${id}@${digest.slice(0, 12)}` : id);
  for (const [name, value] of values) if (name !== "seed") fields.set(name, value);
  return `${location.href.split("#")[0]}#${fields}`;
}

/** Returns what the page's own address asks for, as `linkTo` takes it, or null if it names no text. */
export function readLink() {
  const fields = new URLSearchParams(location.hash.slice(1));
  if (!fields.has("prompt") || !fields.has("seed")) return null;
  const models = fields.getAll("model").map((name) => {
    const at = name.lastIndexOf("@");
    return at < 0 ? { id: name, digest: "" } : { id: name.slice(0, at), digest: name.slice(at + 1) };
  });
  const values = new Map([...fields].filter(([name]) => name !== "prompt" && name !== "model"));
  return { prompt: fields.get("prompt"), seed: fields.get("seed"), models, values };
}
