"""The compiler: from a regular expression to an automaton over the ids of an alphabet."""

from __future__ import annotations

from ..alphabet import Alphabet
from .automaton import Automaton
from .charset import Ranges, read_properties
from .dfa import determinize
from .lifting import lifted
from .nfa import Nfa
from .spellings import Spellings, classes, read_joinings, spellings, with_marks
from .syntax import MOST_CHARACTERS
from .work import ConstraintError, Work


def prepare() -> None:
    """Reads Unicode's properties now, for some 0.3 s, and not during the first compilations."""
    read_properties()
    read_joinings()


def compile_regex(pattern: str, alphabet: Alphabet, *, most_characters: int = MOST_CHARACTERS) -> Automaton:
    """Returns the automaton of the texts in NFC that ``re.fullmatch`` matches, as ``alphabet`` spells them.

    ``pattern`` has ``most_characters`` at most. Raises ``ConstraintError`` if the expression is invalid, not regular or
    too large, or if ``alphabet`` can't spell any text that matches.
    """
    work = Work()
    universe = spellings(alphabet)
    nfa = Nfa(pattern, work, most_characters=most_characters)
    if alphabet.kind == "bytes":
        work.spend(sum(map(len, nfa.sets)), "the sets of characters")
        universe = with_marks(universe, nfa.sets)
    parts = classes(nfa.sets, universe)
    work.spend(len(nfa.sets) * len(parts.low) // 64, "the sets of characters")
    try:
        dfa = determinize(nfa, parts, work)
    except ConstraintError as error:
        if str(error) == "no text matches" and (missing := _missing(nfa, universe, parts.members)):
            raise ConstraintError(f"no text that the model can write matches: its alphabet lacks {missing}") from None
        raise
    return lifted(dfa, parts, universe, work)


def _missing(nfa: Nfa, universe: Spellings, members: list[list[int]]) -> str:
    """Returns the characters of the first set of which the alphabet has none, for a message."""
    pairs = zip(nfa.sets[: nfa.written], members, strict=False)
    one: Ranges = next((ranges for ranges, found in pairs if ranges and not found), ())
    if not one:
        return ""
    first = one[0][0]
    return repr(chr(first)) if one == ((first, first),) else f"all characters like {chr(first)!r}"
