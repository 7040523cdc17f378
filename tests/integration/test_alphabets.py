"""Korean in each alphabet: the streamed text equals the whole one, and no character is broken."""

import asyncio
import math
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import BOUNDARY, Alphabet, Kind
from nextchar_model.batch import SAMPLE, SamplingSettings
from nextchar_model.decoder import Decoder, continuing, decode
from nextchar_model.draws import uniform
from nextchar_model.runner import Runner
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture
from nextchar_training.learning.sampling import sample
from tests.support.korean_model import KINDS, make_korean_model
from tests.support.serving import Serve, failure

SEEDS, IDS, ROWS = 10_000, 40, 250

Models = Callable[[Kind], Path]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Tiny models of random weights, one per alphabet: they also write what a trained one never would."""
    return cache(lambda kind: make_korean_model(kind, tmp_path_factory.mktemp("korean")))


def raw(alphabet: Alphabet, ids: list[int]) -> str:
    """Returns the text of ``ids`` before it is composed."""
    if alphabet.kind == "bytes":
        return bytes(id_ - 1 for id_ in ids).decode(errors="replace")
    return "".join(alphabet.symbols[id_ - 1] for id_ in ids)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_texts_are_the_same_id_by_id_and_whole(models: Models, kind: Kind) -> None:
    runner = Runner(models(kind))
    alphabet = runner.description.alphabet
    texts = set()
    for first in range(0, SEEDS, ROWS):
        draws = np.stack([uniform(seed, 0, IDS) for seed in range(first, first + ROWS)], axis=1)
        steps = runner.advance(
            runner.start([SamplingSettings(temperature=1.2)] * ROWS), np.full((IDS, ROWS), SAMPLE), draws
        )
        for row in steps.ids.T.tolist():
            ids = row[: row.index(BOUNDARY)] if BOUNDARY in row else row
            decoder = Decoder(alphabet)
            pieces = [decoder.feed([id_])[0] for id_ in ids] + [decoder.flush()[0]]
            text = "".join(pieces)
            assert text == decode(alphabet, ids) == unicodedata.normalize("NFC", raw(alphabet, ids))
            assert all(unicodedata.is_normalized("NFC", piece) for piece in pieces)
            texts.add(text)
    assert len(texts) > 0.9 * SEEDS
    assert sum("가" <= character <= "힣" for text in texts for character in text) > SEEDS / 4


@pytest.mark.parametrize("kind", KINDS)
async def test_the_stream_is_the_runners_text_in_whole_characters(models: Models, serve: Serve, kind: Kind) -> None:
    runner = Runner(models(kind))
    alphabet = runner.description.alphabet
    prompt = "서울 밟"
    most = 30
    async with serve(models(kind)) as serving:

        async def stream(seed: int) -> None:
            asked = serving.stream(prompt, seed=seed, max_characters=most, top_logprobs=0, allow_malformed=True)
            events = [event async for event in asked]
            deltas = [event.delta for event in events if event.HasField("delta")]
            text = "".join(delta.text for delta in deltas)
            assert all(unicodedata.is_normalized("NFC", delta.text) for delta in deltas)
            assert unicodedata.is_normalized("NFC", prompt + text)
            steps = runner.generate(prompt, seed, 4 * most)
            read = len(alphabet.encode(prompt))
            ids = steps.ids[read:, 0].tolist()
            ended = BOUNDARY in ids
            decoder = Decoder(alphabet)
            expected, lengths = decoder.feed(ids[: ids.index(BOUNDARY)] if ended else ids)
            if ended:
                rest, more = decoder.flush()
                expected, lengths = expected + rest, lengths + more
            assert text == expected[:most]
            usage = events[-1].finished.usage
            assert (usage.prompt_characters, usage.generated_characters) == (len(prompt), len(text))
            assert [delta.offset for delta in deltas] == [
                sum(len(before.text) for before in deltas[:n]) for n in range(len(deltas))
            ]
            logprobs = [logprob for delta in deltas for logprob in delta.character_logprobs.logprobs]
            of_ids = iter(steps.logprob[read:, 0].tolist())
            assert logprobs == pytest.approx([sum(next(of_ids) for _ in range(n)) for n in lengths[:most]], abs=1e-5)

        await asyncio.gather(*(stream(seed) for seed in range(100)))


@pytest.mark.parametrize("kind", KINDS)
async def test_echo_score_and_stop_sequences_are_of_characters(models: Models, serve: Serve, kind: Kind) -> None:
    async with serve(models(kind)) as serving:
        texts = [await serving.text("서울", seed=seed, max_characters=60) for seed in range(30)]
        plain = max(texts, key=len)
        seed = texts.index(plain)
        assert len(plain) > 40
        assert await serving.text("서울", seed=seed, max_characters=60, echo=True) == "서울" + plain
        stop = plain[20:22]
        end = plain.index(stop)
        assert await serving.text("서울", seed=seed, max_characters=60, stop_sequences=[stop]) == plain[:end]
        scored = await serving.stub.Score(pb.ScoreRequest(text="값 없는 Café"))
        assert scored.text == "값 없는 Café"
        assert len(scored.character_logprobs.logprobs) == len(scored.text)
        assert sum(scored.character_logprobs.logprobs) == pytest.approx(scored.total_logprob, abs=1e-4)
        description = (await serving.stub.GetModel(pb.GetModelRequest())).model
        assert description.alphabet_kind == kind


async def test_a_score_has_the_characters_of_the_request(models: Models, serve: Serve) -> None:
    vowels = "\u1161" * 100  # all of them may join, so a decoder would split them by characters of its own
    async with serve(models("bytes")) as serving:
        scored = await serving.stub.Score(pb.ScoreRequest(text=vowels))
    assert scored.text == vowels
    assert len(scored.character_logprobs.logprobs) == len(vowels)
    assert scored.bits_per_character == pytest.approx(-scored.total_logprob / math.log(2) / len(vowels))


@pytest.mark.parametrize("kind", ["jamo", "bytes"])
async def test_features_of_single_symbols_are_refused(models: Models, serve: Serve, kind: Kind) -> None:
    async with serve(models(kind)) as serving:
        for parameters, message in (
            ({"top_logprobs": 1}, f"the model's alphabet ({kind}) spells characters with several symbols"),
            ({"character_bias": {"값": 1.0}}, f"the model's alphabet ({kind}) spells it with 3 symbols"),
        ):
            error = await failure(serving.stream("서울", **parameters))
            assert message in str(error.details())
        assert await serving.text("서울", seed=1, max_characters=5, character_bias={"1": 50.0}) == "11111"
        if kind == "jamo":
            error = await failure(serving.stream("서을밯"))
            assert "character '밯' (U+BC2F) at offset 2 is not in the model's alphabet" in str(error.details())


@pytest.mark.parametrize("kind", KINDS)
def test_pytorch_samples_from_the_same_ids_as_the_file(models: Models, kind: Kind) -> None:
    runner = Runner(models(kind))
    alphabet = runner.description.alphabet
    forbidden = continuing(alphabet)
    assert forbidden.any() == (kind != "characters")
    read = len(alphabet.encode("밟"))
    firsts = {int(runner.generate("밟", seed, 1).ids[read, 0]) for seed in range(300)}
    assert not forbidden[list(firsts)].any()  # nothing is added to the prompt's last character
    torch.manual_seed(0)
    network = Network(Architecture(alphabet_size=alphabet.size, hidden_size=32, embedding_size=8)).eval()
    text = "".join(sample(network, alphabet, "밟", characters=20, seed=3, temperature=1.0))
    assert len(text) == 20
    assert unicodedata.is_normalized("NFC", "밟" + text)
