/**
 * A text of which each character has a colour, and tells more to the pointer and to the keyboard.
 *
 * The text is one stop of the Tab key; inside it, the arrow keys, Home and End move. Invariant: the text that a reader
 * copies is the text of the model, without the signs that stand for blanks and controls.
 */
import { substitute } from "./characters.js";

const SURPRISES = [0.5, 1, 2, 3, 4, 6, 8]; // bits at which the next tint begins

/** Returns the class of the tint for a log-probability in nats. */
export function surpriseClass(logprob) {
  if (logprob === null) return "unscored";
  const bits = -logprob / Math.LN2;
  return `s${SURPRISES.filter((least) => bits >= least).length}`;
}

export class ColouredText {
  /** `show(place, n, span, byKeyboard)` is called for the character that the reader looks at, with null for none. */
  constructor(element, show) {
    this.element = element;
    this.show = show;
    this.places = [];
    this.spans = [];
    this.current = -1;
    this.waiting = [];
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.addEventListener("pointerover", (event) => this.lookAt(event, event.pointerType === "mouse"));
    element.addEventListener("pointerleave", () => this.leave());
    element.addEventListener("click", (event) => this.lookAt(event, true));
    element.addEventListener("keydown", (event) => this.move(event));
    element.addEventListener("blur", () => this.leave());
  }

  /** Shows `lead` as a text that isn't the model's own, and nothing else. */
  clear(lead = "") {
    this.places = [];
    this.spans = [];
    this.waiting = [];
    this.leave();
    this.element.replaceChildren();
    if (lead) {
      const span = document.createElement("span");
      span.className = "lead";
      span.textContent = lead;
      this.element.append(span);
    }
  }

  /** Appends `places` with the next frame, or with `flush`; `classOf(place)` is the class of each one's tint. */
  append(places, classOf) {
    if (!this.waiting.length) requestAnimationFrame(() => this.flush());
    this.waiting.push(...places.map((place) => [place, classOf(place)]));
  }

  /** Shows what `append` has yet to show. */
  flush() {
    if (!this.waiting.length) return;
    const fragment = document.createDocumentFragment();
    for (const [place, tint] of this.waiting) {
      const span = spanOf(place.character, tint);
      span.dataset.n = this.places.length;
      this.places.push(place);
      this.spans.push(span);
      fragment.append(span);
    }
    this.waiting = [];
    this.element.append(fragment);
  }

  /** Gives each character the class that `classOf(place, n)` returns. */
  tint(classOf) {
    this.flush();
    this.spans.forEach((span, n) => {
      span.className = [classOf(this.places[n], n), ...kindOf(this.places[n].character)].join(" ");
    });
  }

  lookAt(event, isMeant) {
    const span = event.target.closest?.("[data-n]");
    if (!isMeant) return;
    if (span) this.choose(Number(span.dataset.n), false);
    else this.leave();
  }

  move(event) {
    const last = this.spans.length - 1;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10 };
    if (event.key === "Escape" && this.current >= 0) {
      event.stopPropagation();
      this.leave();
      return;
    }
    const target = { Home: 0, End: last }[event.key] ?? (event.key in steps ? this.current + steps[event.key] : null);
    if (target === null || last < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.choose(Math.max(0, Math.min(last, target)), true);
  }

  choose(n, byKeyboard) {
    if (n === this.current && !byKeyboard) return;
    this.spans[this.current]?.removeAttribute("aria-current");
    this.current = n;
    const span = this.spans[n];
    span.setAttribute("aria-current", "true");
    if (byKeyboard) span.scrollIntoView({ block: "nearest" });
    this.show(this.places[n], n, span, byKeyboard);
  }

  leave() {
    if (this.current < 0) return;
    this.spans[this.current]?.removeAttribute("aria-current");
    this.current = -1;
    this.show(null);
  }
}

function spanOf(character, tint) {
  const span = document.createElement("span");
  span.className = [tint, ...kindOf(character)].join(" ");
  const sign = substitute(character);
  if (sign === null) span.textContent = character;
  else span.dataset.sign = sign;
  if (sign !== null && character !== "\0") span.textContent = character;
  return span;
}

function kindOf(character) {
  if (character === "\n") return ["newline"];
  return substitute(character) === null ? [] : ["signed"];
}
