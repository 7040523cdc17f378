from __future__ import annotations

import numpy as np
import pytest

from nextchar_model.alphabet import BOUNDARY, Alphabet, Kind
from nextchar_model.composition import text_of
from nextchar_training.judgement import characters
from nextchar_training.judgement.characters import END, Characters

TEXTS = ["서울특별시 강남구, 값 없는 물건", "Café née 🙂 e\u0323\u0301", "ㅋㅋㅋ 각"]


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("kind", ["characters", "jamo", "bytes"])
def test_the_pieces_put_together_are_the_text_with_an_end_for_each_boundary(
    kind: Kind, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(characters, "_PIECE", piece)
    alphabet = Alphabet.of("".join(TEXTS), kind)
    ids = np.concatenate([np.append(alphabet.encode(text), BOUNDARY) for text in TEXTS])
    whole = "".join(alphabet.spell(text).text + chr(END) for text in TEXTS)
    pieces = list(Characters(ids, alphabet))
    assert "".join(map(text_of, pieces)) == whole
    assert max(map(len, pieces)) <= piece + 3
