/**
 * Gates and states of a layer along a text, read from the server as they are needed.
 *
 * Invariant: what has been read of a text isn't asked for again.
 */
import { score } from "./api.js";

const MOST_CHARACTERS = 1000; // that the server reads for one request
const MOST_VALUES = 250_000; // of one answer: characters × units × quantities
const MOST_UNITS = 64; // of one request

/** The activations of one layer of `model` along a text. */
export class Activations {
  constructor(model, layer, text, options = {}) {
    this.model = model;
    this.layer = layer;
    this.options = options;
    const all = [...text.normalize("NFC")];
    this.characters = all.slice(0, MOST_CHARACTERS);
    this.isWhole = all.length === this.characters.length;
    this.columns = new Map(); // by unit, one array for each quantity
    this.quantities = [];
  }

  /** Returns the values of `quantity` of `unit`, one for each character. */
  async column(unit, quantity, signal) {
    if (!this.columns.has(unit)) await this.read([unit], signal);
    return this.columns.get(unit)[this.quantities.indexOf(quantity)];
  }

  /** Returns the values of `quantity` of all units. `progress(share)` is called meanwhile. */
  async all(quantity, progress, signal) {
    const size = this.model.hidden_size;
    const perRequest = Math.min(MOST_UNITS, Math.floor(MOST_VALUES / (this.characters.length * this.quantities.length)));
    for (let unit = 0; unit < size; unit += perRequest) {
      const units = Array.from({ length: Math.min(perRequest, size - unit) }, (_, n) => unit + n);
      const missing = units.filter((one) => !this.columns.has(one));
      if (missing.length) await this.read(missing, signal);
      progress((unit + units.length) / size);
    }
    const row = this.quantities.indexOf(quantity);
    return Array.from({ length: size }, (_, unit) => this.columns.get(unit)[row]);
  }

  async read(units, signal) {
    const request = { model: this.model.id, text: this.characters.join(""), ...this.options };
    const { activations, characters } = await score({ ...request, include_activations: { layer: this.layer, units } }, signal);
    this.characters = characters.map(({ character }) => character);
    this.quantities = activations.quantities;
    const { values, quantities } = activations;
    units.forEach((unit, u) => {
      const columns = quantities.map(() => new Float32Array(this.characters.length));
      quantities.forEach((_, q) => {
        for (let n = 0; n < this.characters.length; n += 1) {
          columns[q][n] = values[(n * units.length + u) * quantities.length + q];
        }
      });
      this.columns.set(unit, columns);
    });
  }
}
