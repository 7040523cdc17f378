"""The held-out documents of a run: the text that export and later evaluations measure a model on.

``fit`` writes them into the run folder, so nothing after the training has to read the corpus again. They are documents
as the model's alphabet spells them, kept as plain arrays in one compressed file. If the rules say ``development``, they
are those of the development part.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nextchar_model.alphabet import Spelling

from ..files import write_whole


def save_held_out(documents: Sequence[Spelling], path: Path) -> None:
    """Writes ``documents``, at least one. If this raises ``OSError``, the file at ``path`` is still the one before."""
    ids = np.concatenate([document.ids for document in documents])
    lengths = np.concatenate([document.lengths for document in documents])
    content = io.BytesIO()
    np.savez_compressed(
        content,
        text=np.frombuffer("".join(document.text for document in documents).encode(), np.uint8),
        characters=np.array([len(document.text) for document in documents]),
        ids=ids.astype(np.min_scalar_type(ids.max())),
        ids_per_document=np.array([len(document.ids) for document in documents]),
        lengths=lengths.astype(np.min_scalar_type(lengths.max())),
    )
    write_whole(path, content.getbuffer(), kind="held-out text")


def load_held_out(path: Path) -> list[Spelling]:
    """Reads a file written by ``save_held_out``.

    Raises ``ValueError`` if it is damaged, ``OSError`` if it can't be opened.
    """
    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            text = arrays["text"].tobytes().decode()
            ids, lengths = arrays["ids"].astype(np.int64), arrays["lengths"].astype(np.int64)
            character_ends = np.cumsum(arrays["characters"]).tolist()
            id_ends = np.cumsum(arrays["ids_per_document"]).tolist()
    except (KeyError, EOFError, AttributeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"not a file of held-out text, or cut off ({error})") from error
    if character_ends[-1:] != [len(text)] or id_ends[-1:] != [len(ids)] or len(lengths) != len(text):
        raise ValueError("the documents do not fit the text")
    return [
        Spelling(text[begin:end], ids[first:last], lengths[begin:end])
        for begin, end, first, last in zip([0, *character_ends], character_ends, [0, *id_ends], id_ends, strict=False)
    ]


def first_characters(documents: Sequence[Spelling], characters: int) -> list[Spelling]:
    """Returns the first ``characters`` of ``documents``; the boundary stays with a document that isn't cut off."""
    found: list[Spelling] = []
    left = characters
    for document in documents:
        if left <= 0:
            break
        if len(document.text) > left:
            lengths = document.lengths[:left]
            document = Spelling(document.text[:left], document.ids[: lengths.sum()], lengths)
        found.append(document)
        left -= len(document.text)
    return found
