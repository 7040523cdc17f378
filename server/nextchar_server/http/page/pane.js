/** The pane of one model: its text, how far it is, and its numbers. */
import { showCard } from "./card.js";
import { ColouredText, surpriseClass } from "./coloured_text.js";
import { say, sayIn } from "./words.js";

export class Pane {
  /** `buttons` are `[key, action]`, for the foot of the pane. */
  constructor(title, buttons = []) {
    this.element = document.createElement("article");
    this.element.className = "pane";
    this.state = part("span", "state");
    this.stats = part("p", "stats");
    const head = part("header", "");
    const heading = part("h2", "");
    heading.textContent = title;
    head.append(heading, this.state, this.stats);
    const box = part("div", "text");
    sayIn(box, "wordLabel", "text_label", { model: title });
    this.text = new ColouredText(box, showCard);
    const foot = part("footer", "");
    this.buttons = new Map(buttons.map(([key, action]) => [key, button(key, action)]));
    foot.append(...this.buttons.values());
    this.element.append(head, box, ...(buttons.length ? [foot] : []));
  }

  /** Empties the text and shows the prompt before it. */
  clear(prompt = "") {
    this.text.clear(prompt);
    this.stats.replaceChildren();
  }

  append(places) {
    this.text.append(places, (place) => surpriseClass(place.logprob));
  }

  /** Shows the state `key`, "state_running" and the like, and the whole text up to it. */
  tell(key, values = {}) {
    this.text.flush();
    say(this.state, key, values);
    this.state.className = `state ${key.replace("state_", "")}`;
    const isBusy = /waiting|running|slow|full|limited|unready|lost|retrying|scoring/.test(key);
    this.element.setAttribute("aria-busy", isBusy);
    this.element.dataset.state = key.replace("state_", "");
  }

  /** Shows numbers: `[key, values]` of each. */
  count(stats) {
    while (this.stats.children.length > stats.length) this.stats.lastChild.remove();
    stats.forEach(([key, values], n) => {
      const one = this.stats.children[n] ?? this.stats.appendChild(part("span", ""));
      say(one, key, values);
    });
  }

  enable(key, isEnabled) {
    this.buttons.get(key).disabled = !isEnabled;
  }
}

function part(name, className) {
  const made = document.createElement(name);
  made.className = className;
  return made;
}

function button(key, action) {
  const made = part("button", "quiet");
  made.type = "button";
  made.disabled = true;
  say(made, key);
  made.addEventListener("click", action);
  return made;
}
