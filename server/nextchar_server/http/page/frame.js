/** What surrounds the views: announcements, the clipboard, legends, colours and places that are still empty. */
import { number, say, sayIn, words } from "./words.js";

const announcer = document.getElementById("announce");
const root = document.documentElement;

document.addEventListener("language", () => (announcer.textContent = "")); // it was said in the other language

/** Says words to readers who don't see the page. */
export function announce(key, values) {
  announcer.textContent = words(key, values);
}

/** Shows the words of `key` in `place` until something else is there. */
export function empty(place, key) {
  const line = document.createElement("p");
  line.className = "empty";
  say(line, key);
  place.replaceChildren(line);
}

/** Copies `text`, and says so on `button` for a while. */
export async function copy(text, button) {
  await navigator.clipboard.writeText(text).catch(() => copyAsOfOld(text));
  const key = button.dataset.word;
  say(button, "copied");
  announce("copied");
  setTimeout(() => say(button, key === "copied" ? button.dataset.before : key), 1500);
  if (key !== "copied") button.dataset.before = key;
}

/** Without TLS, a browser has no clipboard for pages of other machines. */
function copyAsOfOld(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/** Puts the legends of the colours into the page. */
export function buildLegends() {
  for (const place of document.querySelectorAll('[data-legend="surprise"]')) {
    place.append(worded("span", "legend_surprise"));
    const scale = document.createElement("span");
    scale.className = "scale";
    for (const [n, label] of ["0", "½", "1", "2", "3", "4", "6", "8+"].entries()) scale.append(step(`s${n}`, label));
    place.append(worded("em", "legend_expected"), scale, worded("em", "legend_surprising"));
  }
}

/** Shows the scale of activations from `low` to `high` in `place`. */
export function activationLegend(place, low, high) {
  const scale = document.createElement("span");
  scale.className = "scale";
  const first = low < 0 ? -10 : 0;
  for (let n = first; n <= 10; n += 2) {
    const label = n === first ? number(low) : n === 10 ? number(high) : n === 0 ? number(0) : "";
    scale.append(step(`t${n}`, label));
  }
  place.replaceChildren(worded("span", "legend_value"), scale);
}

/** Lets the button of the colours switch between dark and light; without it, the page follows the system. */
export function startTheme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const tell = () => sayIn(button, "wordLabel", isDark() ? "theme_light" : "theme_dark");
  const chosen = localStorage.getItem("nextchar-theme");
  if (chosen) root.dataset.theme = chosen;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("nextchar-theme", root.dataset.theme);
    tell();
  });
  system.addEventListener("change", tell);
  tell();
}

function worded(name, key) {
  const made = document.createElement(name);
  say(made, key);
  return made;
}

function step(tint, label) {
  const made = document.createElement("i");
  made.className = tint;
  made.textContent = label;
  return made;
}
