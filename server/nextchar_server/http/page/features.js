/**
 * Features of a text that a unit may follow, and how closely a unit does.
 *
 * The idea, and the features of quotes and lines, are from Karpathy, Johnson & Li (2015), arXiv:1506.02078.
 */

const OPENING = "([{〔〈《「『【";
const CLOSING = ")]}〕〉》」』】";

/** By name, a number for each character of a text. */
export const FEATURES = {
  line: (characters) => distances(characters, (character) => character === "\n"),
  quotes: insideQuotes,
  brackets: insideBrackets,
  word: (characters) => distances(characters, (character) => !/[\p{L}\p{M}\p{N}_]/u.test(character)),
  capitals: (characters) => characters.map((character) => Number(/\p{Lu}/u.test(character))),
};

/** Pearson's r of two sequences between `first` and `last`; 0 if one of them is constant there. */
export function correlation(one, other, first, last) {
  const count = last - first;
  let sumOne = 0;
  let sumOther = 0;
  for (let n = first; n < last; n += 1) {
    sumOne += one[n];
    sumOther += other[n];
  }
  let both = 0;
  let squaresOne = 0;
  let squaresOther = 0;
  for (let n = first; n < last; n += 1) {
    const a = one[n] - sumOne / count;
    const b = other[n] - sumOther / count;
    both += a * b;
    squaresOne += a * a;
    squaresOther += b * b;
  }
  const product = squaresOne * squaresOther;
  return product > 1e-12 ? both / Math.sqrt(product) : 0;
}

/** Returns `{unit, r, check}` of each column, the closest first: r in the first half of the text and in the rest. */
export function rank(columns, feature) {
  const half = Math.floor(feature.length / 2);
  const ranked = columns.map((column, unit) => ({
    unit,
    r: correlation(column, feature, 0, half),
    check: correlation(column, feature, half, feature.length),
  }));
  return ranked.sort((one, other) => Math.abs(other.r) - Math.abs(one.r));
}

/** Whether the feature changes in both halves of the text, so that there is something to follow. */
export function isPresent(feature) {
  const half = Math.floor(feature.length / 2);
  return [feature.slice(0, half), feature.slice(half)].every((part) => new Set(part).size > 1);
}

/** Characters since the last one that is an end. */
function distances(characters, isEnd) {
  let distance = 0;
  return characters.map((character) => (distance = isEnd(character) ? 0 : distance + 1));
}

function insideQuotes(characters) {
  let isInside = 0;
  return characters.map((character) => {
    if (character === "“") isInside = 1;
    else if (character === "”") isInside = 0;
    else if (character === '"') isInside = 1 - isInside;
    return isInside;
  });
}

function insideBrackets(characters) {
  let depth = 0;
  return characters.map((character) => {
    if (OPENING.includes(character)) depth += 1;
    else if (CLOSING.includes(character)) depth = Math.max(0, depth - 1);
    return Math.min(depth, 1);
  });
}
