"""Ranks and entropies of characters: those of the distribution in each place, at the same bits whatever the load."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import torch

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet
from nextchar_server.rpc.errors import InvalidArgumentError
from nextchar_server.rpc.requests import read_details
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.fp32) as serving:
        yield serving


def distributions(tiny: TinyModel, text: str) -> torch.Tensor:
    """Returns PyTorch's log-probabilities of all ids in the place of each character of ``text``, [characters, V]."""
    ids = torch.from_numpy(tiny.alphabet.encode(text))
    with torch.inference_mode():
        before = torch.cat([torch.zeros(1, dtype=torch.long), ids[:-1]])[:, None]
        logits: torch.Tensor = tiny.network(before, tiny.network.initial_state(1))[0][:, 0]
        return logits.log_softmax(-1)


async def test_scores_ranks_and_entropies_are_those_of_pytorch(tiny: TinyModel, serving: Serving) -> None:
    text = tiny.text[:300]
    columns = (await serving.stub.Score(pb.ScoreRequest(text=text, details=True))).character_logprobs
    all_, ids = distributions(tiny, text), torch.from_numpy(tiny.alphabet.encode(text))[:, None]
    own = all_.gather(1, ids)
    assert np.allclose(columns.logprobs, own[:, 0].numpy(), atol=1e-4)
    assert np.allclose(columns.entropies, -(all_.exp() * all_).sum(1).numpy(), atol=1e-4)
    better, at_most = (all_ > own + 1e-4).sum(1), (all_ > own - 1e-4).sum(1)
    ranks = np.array(columns.ranks)
    assert ((better.numpy() < ranks) & (ranks <= at_most.numpy())).all()


async def test_details_change_no_score_and_are_the_same_in_streams_and_beside_others(
    tiny: TinyModel, serve: Serve
) -> None:
    async with serve(tiny.int8, lanes=1) as serving:
        text = tiny.text[:1500]
        plain = await serving.stub.Score(pb.ScoreRequest(text=text, top_logprobs=2))
        request = pb.ScoreRequest(text=text, top_logprobs=2, details=True)
        alone = (await serving.stub.Score(request)).character_logprobs
        others = [
            asyncio.create_task(serving.text("the", seed=seed, max_characters=1500, top_logprobs=3))
            for seed in range(8)
        ]
        beside = (await serving.stub.Score(request)).character_logprobs
        settings = pb.ScoreSettings(top_logprobs=2, details=True)
        parts = [pb.ScoreStreamRequest(settings=settings), *(pb.ScoreStreamRequest(text=one) for one in text)]
        ranks: list[int] = []
        entropies: list[float] = []
        async for event in serving.stub.ScoreStream(iter(parts)):
            ranks += event.part.character_logprobs.ranks
            entropies += event.part.character_logprobs.entropies
        await asyncio.gather(*others)
        assert beside == alone
        assert (ranks, entropies) == (list(alone.ranks), list(alone.entropies))
        assert alone.logprobs == plain.character_logprobs.logprobs
        assert alone.alternatives == plain.character_logprobs.alternatives


@pytest.mark.parametrize(
    ("alphabet", "message"),
    [
        (Alphabet.of("", "bytes"), "details: the model's alphabet (bytes) spells characters with several symbols"),
        (Alphabet.of("".join(map(chr, range(0x4E00, 0x5700)))), "details: the model's alphabet has 2305 symbols"),
    ],
    ids=["bytes", "large"],
)
def test_details_that_an_alphabet_has_not_are_refused(alphabet: Alphabet, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_details(pb.ScoreRequest(details=True), "", alphabet)
    assert caught.value.message.startswith(message)
