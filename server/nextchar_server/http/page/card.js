/** The card beside a character: its probability and what else the model expected there. */
import { codePoint, visible } from "./characters.js";
import { number, percent, words } from "./words.js";

const GAP = 8; // pixels between the character and the card

const card = document.getElementById("card");
const announce = document.getElementById("announce");
let anchor = null; // the character that the card is about

addEventListener("scroll", () => anchor && put(anchor.getBoundingClientRect()), { passive: true });

/** Shows what is known of `place` beside `span`; null hides the card. The keyboard's reader also hears it. */
export function showCard(place, _n, span, byKeyboard) {
  anchor = span ?? null;
  if (place === null) {
    card.hidden = true;
    return;
  }
  card.replaceChildren(head(place), ...figures(place), ...alternatives(place));
  card.hidden = false;
  put(span.getBoundingClientRect());
  if (byKeyboard) announce.textContent = spoken(place);
}

function put(box) {
  const { offsetWidth: width, offsetHeight: height } = card;
  const left = Math.max(GAP, Math.min(box.left, document.documentElement.clientWidth - width - GAP));
  const below = box.bottom + GAP;
  const top = below + height < window.innerHeight ? below : Math.max(GAP, box.top - height - GAP);
  card.style.left = `${left}px`;
  card.style.top = `${top}px`;
}

function head({ character }) {
  const line = element("p", "card-head");
  line.append(element("b", "", visible(character)), element("span", "", codePoint(character)));
  return line;
}

function figures({ logprob, rank, entropy }) {
  if (logprob === null) return [element("p", "", words("not_scored"))];
  const line = element("p", "card-figures");
  line.append(element("strong", "", percent(Math.exp(logprob))));
  line.append(element("span", "", words("bits", { bits: bitsOf(logprob) })));
  if (rank) line.append(element("span", "", words("rank", { rank })));
  const more = entropy === undefined ? [] : [element("p", "card-note", words("uncertainty", { bits: bitsOf(-entropy) }))];
  return [line, ...more];
}

function alternatives({ character, alternatives: all, logprob }) {
  if (!all.length) return logprob === null ? [] : [element("p", "card-note", words("no_alternatives"))];
  const list = element("ol", "alternatives");
  for (const [other, itsLogprob] of all) {
    const row = element("li", other === character ? "own" : "");
    const bar = element("i", "");
    bar.style.width = `${100 * Math.exp(itsLogprob)}%`;
    const track = element("span", "track");
    track.append(bar);
    row.append(element("b", "", visible(other)), track, element("span", "", percent(Math.exp(itsLogprob))));
    list.append(row);
  }
  return [list];
}

function spoken({ character, logprob }) {
  if (logprob === null) return visible(character);
  const values = { character: visible(character), percent: percent(Math.exp(logprob)), bits: bitsOf(logprob) };
  return words("announce_character", values);
}

function bitsOf(logprob) {
  return number(-logprob / Math.LN2);
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
