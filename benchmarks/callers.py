"""Callers that compare each text that they receive with the undisturbed one.

``failover`` runs them beside its faults. Their texts are of the four kinds that are hardest to continue exactly: plain
ones; Korean ones, whose syllables a cut can leave unfinished; texts of which stop sequences hold back half; and texts
with log-probabilities. Half of the callers ask for resume tokens. Invariant: a text counts as whole only if it equals
that of a server that nothing happened to, in each character and each bit of a log-probability.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from nextchar_client import AsyncClient, CharacterLogprob, Delta, Finished, NextcharError, Resumed, Started
from nextchar_client import GenerationOptions as Options

KINDS = ("plain", "jamo", "stop sequences", "logprobs")
_CHARACTERS = {"plain": 800, "jamo": 500, "stop sequences": 500, "logprobs": 200}
_INTERVAL = 64  # most characters between two tokens of callers that ask for them
_PROMPT = "ROMEO:"
_HELD = 50  # characters of a stop sequence: those that a server holds back
_DECOYS = 8  # stop sequences that agree with the text except in their last character


@dataclass(frozen=True)
class Text:
    """A text as a caller received it."""

    seed: int
    text: str
    logprobs: tuple[CharacterLogprob, ...]
    finished: Finished
    resumed: int = field(default=0, compare=False)
    """How many times the client continued it on another server."""


@dataclass
class Caller:
    """A caller who asks for one text again and again: ``seed`` None means that the server draws it the first time."""

    kind: str
    seed: int | None
    wants_tokens: bool
    stop: tuple[str, ...] = ()
    texts: list[Text] = field(default_factory=list)
    failures: list[NextcharError] = field(default_factory=list)

    async def ask(self, client: AsyncClient, *, characters: int | None = None, stall: float = 0) -> None:
        """Asks once, and keeps the text or the failure. Reads nothing for ``stall`` seconds after the first delta."""
        try:
            text = await self._text(client, characters or _CHARACTERS[self.kind], stall)
        except NextcharError as failure:
            self.failures.append(failure)
        else:
            self.seed = text.seed
            self.texts.append(text)

    def options(self, characters: int) -> Options:
        """Returns the options of the request."""
        options: Options = {"model": "jamo" if self.kind == "jamo" else "verse", "max_characters": characters}
        if self.seed is not None:
            options["seed"] = self.seed
        if self.kind == "logprobs":
            options["top_logprobs"] = 5
        if self.stop:
            options["stop"] = self.stop
        if self.wants_tokens:
            options["resume_interval"] = _INTERVAL
        return options

    async def _text(self, client: AsyncClient, characters: int, stall: float) -> Text:
        parts: list[str] = []
        logprobs: list[CharacterLogprob] = []
        seed, resumed, finished = 0, 0, None
        prompt = "" if self.kind == "jamo" else _PROMPT
        async with aclosing(client.stream(prompt, with_resumed=True, **self.options(characters))) as events:
            async for event in events:
                match event:
                    case Started():
                        seed = event.seed
                    case Delta():
                        if stall and not parts:
                            await asyncio.sleep(stall)
                        parts.append(event.text)
                        logprobs += event.logprobs
                    case Finished():
                        finished = replace(event, resume_token=b"")
                    case Resumed():
                        resumed += 1
        assert finished is not None  # the client fails otherwise
        return Text(seed, "".join(parts), tuple(logprobs), finished, resumed)


@dataclass(frozen=True)
class Tally:
    """The fate of the texts of some callers."""

    whole: int = 0
    """Texts that equal the undisturbed ones."""
    different: int = 0
    failed: int = 0
    lost: int = 0
    """Characters of undisturbed texts that callers didn't receive. All of those of a text that failed count."""
    repeated: int = 0
    """Characters that callers received beyond those of the undisturbed texts."""
    resumed: int = 0
    """Times that a text was continued on another server."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def tally(caller: Caller, undisturbed: Text) -> Tally:
    """Compares all texts of ``caller`` with the undisturbed one."""
    wanted = len(undisturbed.text)
    lengths = [len(text.text) for text in caller.texts]
    whole = sum(text == undisturbed for text in caller.texts)
    return Tally(
        whole=whole,
        different=len(caller.texts) - whole,
        failed=len(caller.failures),
        lost=sum(max(0, wanted - length) for length in lengths) + wanted * len(caller.failures),
        repeated=sum(max(0, length - wanted) for length in lengths),
        resumed=sum(text.resumed for text in caller.texts),
    )


async def make_callers(client: AsyncClient, count: int) -> list[Caller]:
    """Returns ``count`` callers of all kinds, every other of which asks for tokens.

    ``client`` must reach an undisturbed server. A quarter let the server draw their seed at first.
    """
    callers = []
    for number in range(count):
        kind = KINDS[number // 2 % len(KINDS)]
        draws = kind != "stop sequences" and number // 8 % 4 == 0
        callers.append(Caller(kind, None if draws else number, wants_tokens=number % 2 == 0))
    await asyncio.gather(*(_hold_back(client, caller) for caller in callers if caller.kind == "stop sequences"))
    return callers


async def _hold_back(client: AsyncClient, caller: Caller) -> None:
    """Chooses stop sequences that hold back the text of ``caller`` up to the one that ends it."""
    await caller.ask(client)
    (whole,) = (text.text for text in caller.texts)
    caller.texts.clear()
    starts = range(_HELD, (_DECOYS + 1) * _HELD, _HELD)  # the first characters come at once
    decoys = [whole[start : start + _HELD - 1] + _other_than(whole[start + _HELD - 1]) for start in starts]
    caller.stop = (*decoys, whole[starts.stop - _HELD // 2 :][:_HELD])


def _other_than(character: str) -> str:
    return "e" if character != "e" else "a"


async def undisturbed(
    client: AsyncClient, callers: Iterable[Caller], *, characters: int | None = None
) -> dict[int, Text]:
    """Returns the text of each caller's request, by the caller's id, from a server that nothing happens to."""
    copies = {id(caller): Caller(caller.kind, caller.seed, wants_tokens=False, stop=caller.stop) for caller in callers}
    await asyncio.gather(*(copy.ask(client, characters=characters) for copy in copies.values()))
    return {number: copy.texts[0] for number, copy in copies.items()}
