"""Adaptation: a network's probabilities, mixed with those of an n-gram model that learns the text on the way.

This is *dynamic evaluation*: each symbol is predicted from all symbols before it, as ever, but by a model that
continues to learn. Its figures have to be called so, and don't compare with those of a fixed model. Only the
network's probability of the symbol that comes is needed, so the client can do it with the scores of a server. Standard
library only, because the client has nothing else.

Invariant: before each symbol, the probabilities of all symbols add up to those of the network (which may keep some for
the end of the text), and the memory is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

ORDER = 6
"""Most symbols before a symbol from which it is predicted."""
MOST_NGRAMS = 2**20
"""Most n-grams that are counted, of all lengths together."""

_DISCOUNT = 0.75
_BEGINNING = "\0"  # before the first symbol of a text, as the boundary has id 0
_TOTAL = 2**21  # a context is one integer, to save memory: its total times this, plus its number of symbols
_WEIGHTS = tuple((n + 0.5) / 10 for n in range(10))
_SHARE = 0.001


class Ngram:
    """An n-gram model of the text so far: Kneser-Ney smoothing, interpolated.

    The probability of symbol s in the context c, with c' the context without its first symbol, is
    ``(max(n(c, s) - D, 0) + D T(c) p(s | c')) / N(c)``: n counts, N is the sum of the counts, T the number of different
    symbols, and below the empty context each symbol has 1/V (Kneser and Ney, "Improved backing-off for m-gram language
    modeling", 1995; interpolated as in Chen and Goodman, "An empirical study of smoothing techniques for language
    modeling", 1999, equation 24). A shorter context counts a symbol only if it is new in the longer one: these are the
    counts of Kneser and Ney, kept on the way, and the update exclusion of compression (Moffat, "Implementing the PPM
    data compression scheme", 1990). At ``MOST_NGRAMS`` all counts are halved, and those of 1 are forgotten, as there.
    """

    def __init__(self, symbols: int) -> None:
        """V is the number of ``symbols`` that can come; each is a character, whatever it stands for."""
        self._least = 1 / symbols
        self._counts: dict[str, int] = {}  # of each context with its symbol behind it
        self._contexts: dict[str, int] = {}
        self._before = _BEGINNING

    def begin(self) -> None:
        """Begins another text, with all counts."""
        self._before = _BEGINNING

    def probability(self, symbol: str) -> tuple[float, tuple[int, int, bool]]:
        """The probability of ``symbol`` after those that were read, and how well founded it is.

        The latter is the same for every symbol: the length of the longest context that was seen before, the number of
        binary digits of its total (at most 5), and whether only one symbol ever followed it.
        """
        before = self._before
        probability, length, total, different = self._least, -1, 0, 0
        for size in range(len(before) + 1):
            context = before[len(before) - size :]
            known = self._contexts.get(context)
            if known is None:
                break
            length = size
            total, different = divmod(known, _TOTAL)
            discounted = max(self._counts.get(context + symbol, 0) - _DISCOUNT, 0)
            probability = (discounted + _DISCOUNT * different * probability) / total
        return probability, (length, min(total.bit_length(), 5), different == 1)

    def read(self, symbol: str) -> None:
        """Counts ``symbol``, which comes next."""
        before, counts = self._before, self._counts
        for size in range(len(before), -1, -1):
            context = before[len(before) - size :]
            ngram = context + symbol
            count = counts.get(ngram, 0)
            counts[ngram] = count + 1
            self._contexts[context] = self._contexts.get(context, 0) + _TOTAL + (not count)
            if count:
                break
        self._before = (before + symbol)[-ORDER:]
        while len(counts) > MOST_NGRAMS:
            counts = self._halve()

    def _halve(self) -> dict[str, int]:
        self._counts = {ngram: count // 2 for ngram, count in self._counts.items() if count > 1}
        self._contexts = {}
        for ngram, count in self._counts.items():
            context = ngram[:-1]
            self._contexts[context] = self._contexts.get(context, 0) + count * _TOTAL + 1
        return self._counts


class Adaptive:
    """The mixture of a network and an n-gram model that learns the text on the way.

    The probability is ``w network + (1 - w) ngram``. Ten weights w compete in each class of contexts, which
    ``Ngram.probability`` tells: the better a weight has predicted there, the larger its part (exponential weights over
    mixtures, Cover, "Universal portfolios", 1991), and each keeps a thousandth of the sum, so that the weights follow
    the text (fixed share, Herbster and Warmuth, "Tracking the best expert", 1998).
    """

    def __init__(self, symbols: int) -> None:
        """``symbols`` is the number of symbols that can come, the end of the text included."""
        self._ngram = Ngram(symbols)
        self._parts: dict[tuple[int, int, bool], list[float]] = {}
        self.begin = self._ngram.begin

    def learn(self, parts: Iterable[str]) -> None:
        """Reads a text of which nothing is predicted, such as the one that the network was trained on."""
        self.begin()
        for part in parts:
            for symbol in part:
                self._ngram.read(symbol)
        self.begin()

    def logprob(self, symbol: str, network: float) -> float:
        """The log-probability of ``symbol``, which comes next, in nats; ``network`` is the network's.

        Then reads the symbol.
        """
        ngram, kind = self._ngram.probability(symbol)
        of_network = math.exp(network)
        parts = self._parts.get(kind) or [1 / len(_WEIGHTS)] * len(_WEIGHTS)
        mixed = [
            part * (weight * of_network + (1 - weight) * ngram) for part, weight in zip(parts, _WEIGHTS, strict=True)
        ]
        probability = sum(mixed)
        scale = (1 - _SHARE) / probability
        self._parts[kind] = [part * scale + _SHARE / len(_WEIGHTS) for part in mixed]
        self._ngram.read(symbol)
        return math.log(probability)
