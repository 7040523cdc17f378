"""Tiny languages for searches: every id's probability depends on the id before it, so brute force is easy."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet, Ids
from nextchar_model.decoder import continuing, decode
from nextchar_server.engine.tree import Tree, Wanted

Completions = dict[str, float]
"""Completions, with the log-probability of each."""


@dataclass(frozen=True, eq=False)
class Language:
    """A language of an alphabet of V ids."""

    alphabet: Alphabet
    logprobs: NDArray[np.float64]
    """[V, V]: of each id behind each."""

    @staticmethod
    def of(alphabet: Alphabet, seed: int, used: str | bytes = "", sharpness: float = 2.0) -> "Language":
        """Returns a random language; of the alphabet's symbols, only those of ``used`` occur, if it isn't empty."""
        weights = np.random.default_rng(seed).normal(size=(alphabet.size, alphabet.size)) * sharpness
        if used:
            symbols = used if isinstance(used, bytes) else alphabet.encode(used) - 1
            kept = [BOUNDARY, *(int(one) + 1 for one in symbols)]
            weights[:, np.setdiff1d(np.arange(alphabet.size), kept)] = -np.inf
        return Language(alphabet, weights - np.log(np.exp(weights).sum(axis=1, keepdims=True)))

    def search(self, wanted: Wanted) -> tuple[Completions, bool]:
        """Returns what a search finds behind the start of a document, and whether it is exact."""

        def advance(ids: Ids, parents: Ids, first: int) -> NDArray[np.float64]:
            behind: NDArray[np.float64] = self.logprobs[ids]
            return behind.copy()

        tree = Tree(wanted, advance, BOUNDARY)
        while tree.step():
            pass
        found = {decode(self.alphabet, one.ids): one.logprob for one in tree.completions()}
        assert len(found) == len(tree.completions())
        return found, tree.is_exact

    def texts(self, most: int) -> Iterator[tuple[list[int], float]]:
        """Yields all beginnings of at most ``most`` characters, with the probability of each."""
        waiting: list[tuple[list[int], float]] = [([], 1.0)]
        while waiting:
            ids, probability = waiting.pop()
            yield ids, probability
            behind = np.exp(self.logprobs[ids[-1] if ids else BOUNDARY])
            for id_ in (np.flatnonzero(behind[1:]) + 1).tolist():
                text = self._text([*ids, id_])
                if len(text) <= most and "\ufffd" not in text[:-1]:
                    waiting.append(([*ids, id_], probability * behind[id_]))

    def end(self, ids: list[int]) -> float:
        """Returns the probability of the document's end behind ``ids``."""
        return float(np.exp(self.logprobs[ids[-1] if ids else BOUNDARY, BOUNDARY]))

    def words(self, most: int) -> Completions:
        """Returns all words of at most ``most`` characters."""
        found: defaultdict[str, float] = defaultdict(float)
        for ids, probability in self.texts(most + 1):
            text = self._text(ids)
            if text and is_word(text) and self._is_spelled(ids, text):
                found[text] += probability * self.end(ids)
            elif len(text) > 1 and is_word(text[:-1]) and self._ends_now(ids, text[:-1]):
                found[text[:-1]] += probability
        return {text: float(np.log(one)) for text, one in found.items() if one and len(text) <= most}

    def _text(self, ids: list[int]) -> str:
        if self.alphabet.kind == "bytes":
            return bytes(id_ - 1 for id_ in ids).decode(errors="replace")
        return decode(self.alphabet, ids)

    def _is_spelled(self, ids: list[int], text: str) -> bool:
        """Whether ``ids`` are those of ``text``, which holds no lone jamo, nor begins with half a character."""
        is_broken = any("\u1100" <= one < "\u1200" for one in text) or continuing(self.alphabet)[ids[0]]
        return not is_broken and self.alphabet.encode(text).tolist() == ids

    def _ends_now(self, ids: list[int], word: str) -> bool:
        """Whether the last of ``ids``, and no earlier one, shows that ``word`` has ended."""
        length = len(self.alphabet.encode(word))
        if not self._is_spelled(ids[:length], word):
            return False
        if self.alphabet.kind != "bytes":
            return len(ids) == length + 1 and not is_word(self.alphabet.symbol(ids[length]))
        rest = bytes(id_ - 1 for id_ in ids[length:])
        return kinds().get(rest) == {False} and kinds().get(rest[:-1]) != {False}


@cache
def kinds() -> dict[bytes, set[bool]]:
    """Which characters each beginning of UTF-8 begins: those of words, others, or both."""
    found: dict[bytes, set[bool]] = {}
    for code in range(0x3000):
        spelled = chr(code).encode()
        for length in range(1, len(spelled) + 1):
            found.setdefault(spelled[:length], set()).add(is_word(chr(code)))
    return found


def is_word(text: str) -> bool:
    """Whether ``text`` consists of letters, digits, marks and underscores."""
    return all(one == "_" or one.isalnum() or unicodedata.category(one)[0] == "M" for one in text)


def likeliest(completions: Completions, count: int) -> Completions:
    """Returns the ``count`` likeliest ones, in that order."""
    return dict(sorted(completions.items(), key=lambda one: -one[1])[:count])
