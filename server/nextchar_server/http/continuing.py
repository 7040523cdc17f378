"""How a stream continues: the kind of its ids, and the request that an id stands for.

Stands between the route of completions and ``requests``. A short id, a mark, says all that is needed to generate the
text again. It serves if the model computes the same in any batch; if it doesn't, and if the caller wishes so, ids have
resume tokens.

Invariant: an id of another request, another model file or another numeric class is refused before anything is computed.
"""

from __future__ import annotations

import unicodedata

from .errors import ApiError, invalid
from .link import Link
from .marks import Mark, checksum
from .place import Place
from .schema import CompletionRequest

FIELD = "Last-Event-ID"


def start_of(identifier: str) -> Mark | Place:
    """Returns the place that the id of an event names. Raises ``ApiError``."""
    start = Mark.parse(identifier) or Place.parse(identifier)
    if start is None:
        raise invalid(FIELD, "is not the id of an event")
    return start


def kinds(body: CompletionRequest, link: Link) -> tuple[bool, bool]:
    """Returns whether the ids of a stream are resume tokens, and whether they are marks. Some streams have none."""
    model = link.model(body.model)
    is_repeatable = model is None or not model.batch_dependent
    has_tokens = (body.resume_interval is not None or not is_repeatable) and echoed(body) is not None
    return has_tokens, is_repeatable and not has_tokens


def echoed(body: CompletionRequest) -> int | None:
    """Returns how many characters of the text are the prompt; None if nobody knows."""
    if not body.echo:
        return 0
    if body.unknown_characters == "skip":
        return None
    return len(unicodedata.normalize("NFC", body.prompts[0]))


def behind(body: CompletionRequest, mark: Mark, link: Link) -> CompletionRequest:
    """Returns the request that generates the text of ``mark`` again. Raises ``ApiError``."""
    if not mark.is_of(body):
        raise invalid(FIELD, "is the id of an event of another request; repeat the one that was cut, or leave it out")
    if (named := link.model(body.model)) is None:
        return body  # which the service refuses
    version = f"{named.name}@{mark.digest}"
    model = link.model(version)
    if model is None or checksum(model.numeric_class) != mark.numeric_class:
        raise ApiError(
            409, f"{FIELD}: is of another file or numeric class than {named.name} has here", "other_model", FIELD
        )
    return body.model_copy(update={"model": version, "seed": None if body.resume_token else mark.seed})
