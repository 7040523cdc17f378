/** How characters are shown: blanks, line ends, controls and marks that have no look of their own. */
import { words } from "./words.js";

const SIGNS = { " ": "␣", "\n": "↵", "\t": "⇥", "\u00a0": "⍽", "\u3000": "□" };
const END_OF_TEXT = "<|endoftext|>"; // as the server names the end of the document

/** Returns a sign for a character that would be invisible, and every other one as it is. */
export function visible(character) {
  if (character === END_OF_TEXT) return words("end_of_text");
  return SIGNS[character] ?? substitute(character) ?? character;
}

/** Returns the sign that stands for `character` in a text, or null if it shows itself. */
export function substitute(character) {
  if (character === "\n" || character === "\t") return null;
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "␡";
  if (/^\p{M}/u.test(character)) return `◌${character}`;
  if (/^[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/u.test(character)) return codePoint(character);
  return null;
}

/** Returns "U+0041" for "A"; of several code points all of them. */
export function codePoint(character) {
  const codes = [...character].map((one) => one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0"));
  return codes.map((code) => `U+${code}`).join(" ");
}
