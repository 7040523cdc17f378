/**
 * The words of the page in the reader's language.
 *
 * An element that says something keeps the key and the values of its words, so that a change of the language says it
 * again. Invariant: no other module writes words into the page.
 */
import { english } from "./words/en.js";
import { korean } from "./words/ko.js";

const LANGUAGES = { en: english, ko: korean };
const ATTRIBUTES = { wordTitle: "title", wordPlaceholder: "placeholder", wordLabel: "aria-label" };
const said = new WeakMap(); // values of the elements that say something

let language = "en";

/** Returns the words of `key`, with `{name}` replaced by the value of that name; numbers as the language writes them. */
export function words(key, values = {}) {
  return LANGUAGES[language][key].replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : String(value);
  });
}

/** Returns `value` as the language writes it, with at most `digits` behind the point. */
export function number(value, digits = 2) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value).replace("-", "−");
}

/** Returns a probability in percent, with more digits if it is small. */
export function percent(probability) {
  const digits = probability >= 0.1 ? 0 : probability >= 0.001 ? 1 : 3;
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits }).format(probability);
}

/** Lets `element` say the words of `key` from now on. */
export function say(element, key, values = {}) {
  const before = said.get(element);
  said.set(element, values);
  if (element.dataset.word === key && JSON.stringify(before) === JSON.stringify(values)) return;
  element.dataset.word = key;
  element.textContent = words(key, values);
}

/** Lets `element` say nothing. */
export function hush(element) {
  delete element.dataset.word;
  element.textContent = "";
}

/** Lets an attribute of `element` say the words of `key`: "wordTitle", "wordPlaceholder" or "wordLabel". */
export function sayIn(element, attribute, key, values = {}) {
  element.dataset[attribute] = key;
  said.set(element, { ...said.get(element), ...values });
  element.setAttribute(ATTRIBUTES[attribute], words(key, said.get(element)));
}

export function currentLanguage() {
  return language;
}

/** Says everything again in `name`, "en" or "ko", and tells it by the document's event "language". */
export function setLanguage(name) {
  language = name in LANGUAGES ? name : "en";
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) {
    element.textContent = words(element.dataset.word, said.get(element));
  }
  for (const [key, attribute] of Object.entries(ATTRIBUTES)) {
    const selector = `[data-${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}]`;
    for (const element of document.querySelectorAll(selector)) {
      element.setAttribute(attribute, words(element.dataset[key], said.get(element)));
    }
  }
  document.dispatchEvent(new CustomEvent("language"));
}
