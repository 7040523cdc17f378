"""Well-formed texts: the automaton of the ids that can follow one another in any text.

Bytes are UTF-8, and a jamo vowel or final consonant follows the jamo that it belongs to. The first character doesn't
compose with the text before it, which somebody has read already. This has the form of an expression's automaton.
"""

from __future__ import annotations

import numpy as np

from ..alphabet import Alphabet
from .automaton import Automaton
from .charset import ALL, Ranges, complement
from .dfa import Dfa
from .lifting import lifted
from .spellings import ALONE, Spellings, classes, spellings
from .work import Work

_NO_TEXT: Ranges = ((0xD800, 0xDFFF), (0xFFFD, 0xFFFD))  # surrogates, and the mark of a character that was broken
_WORK = 10_000_000  # the alphabet bounds it


def well_formed(alphabet: Alphabet) -> Automaton:
    """Returns the automaton of all well-formed texts of ``alphabet``."""
    universe = spellings(alphabet)
    if alphabet.kind == "bytes":  # marks too: they can't break a text
        universe = Spellings(alphabet, tuple((low, high, ALONE) for low, high in complement(_NO_TEXT)))
    parts = classes([ALL], universe)
    is_second = np.array([one.is_second for one in parts.joining], np.bool_)
    # The first character does not compose; after it, any can follow.
    transitions = np.array([np.where(is_second, -1, 1), np.ones(len(is_second))], np.int32)
    if not is_second.any():
        transitions = np.zeros((1, len(is_second)), np.int32)
    states = len(transitions)
    dfa = Dfa(transitions, np.ones(states, np.bool_), np.zeros(states, np.int32))
    return lifted(dfa, parts, universe, Work(_WORK))
