"""The cut of a batch into calls: which text is which sample of which prompt."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from nextchar_client import InvalidArgumentError
from nextchar_client.batch import plan
from nextchar_client.batch.job import Job
from nextchar_client.batch.plan import SAMPLES_OF_A_PREFIX, Block, Requests, Samples, bounds, plan_of


def texts(blocks: Iterable[Block]) -> list[tuple[int, str, int]]:
    """Number, prompt and sample of each text, in order."""
    found = []
    for block in blocks:
        each = [
            (number, piece.prompt, sample)
            for piece in block
            for sample, number in enumerate(piece.numbers, piece.first_sample)
        ]
        found += sorted(each)
    return found


def test_text_n_of_one_prompt_is_sample_n() -> None:
    assert texts(Samples(["a"], {}, 7).blocks(0, 200)) == [(n, "a", n) for n in range(200)]


def test_a_call_has_64_samples_and_less_of_long_texts() -> None:
    assert [len(block[0].numbers) for block in Samples(["a"], {}, 7).blocks(0, 130)] == [64, 64, 2]
    (block, *_) = Samples(["a"], {"max_characters": 10_000}, 7).blocks(0, 130)
    assert len(block[0].numbers) == 10


def test_prefixes_take_turns_and_have_samples_of_their_own() -> None:
    found = texts(Samples(["a", "b", "c"], {}, 7).blocks(0, 5))
    assert [prompt for _, prompt, _ in found] == ["a", "b", "c", "a", "b"]
    assert [sample for _, _, sample in found] == [
        0,
        SAMPLES_OF_A_PREFIX,
        2 * SAMPLES_OF_A_PREFIX,
        1,
        SAMPLES_OF_A_PREFIX + 1,
    ]


@pytest.mark.parametrize("prompts", [["a"], ["a", "b", "c"], [str(n) for n in range(100)]])
@pytest.mark.parametrize("start", [0, 1, 64, 99, 250])
def test_a_plan_that_begins_later_makes_the_same_texts(prompts: list[str], start: int) -> None:
    samples = Samples(prompts, {}, 7)
    assert texts(samples.blocks(start, 300)) == texts(samples.blocks(0, 300))[start:]


def test_many_prefixes_fill_a_block_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_MOST_IN_A_BLOCK", 200)
    blocks = list(Samples([str(n) for n in range(100)], {}, 7).blocks(0, 1000))
    assert {sum(len(piece.numbers) for piece in block) for block in blocks} == {200}
    assert [number for number, _, _ in texts(blocks)] == list(range(1000))


def test_a_line_has_its_own_seed_or_that_of_its_number(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text('{"prompt": "a"}\n\n{"prompt": "b", "seed": 3, "max_characters": 5}\n{}\n')
    requests = Requests(str(path), {"max_characters": 9}, 7)
    pieces = [piece for block in requests.blocks(0, None) for piece in block]
    assert [(piece.prompt, piece.seed, piece.first_sample, piece.line) for piece in pieces] == [
        ("a", 7, 0, 1),
        ("b", 3, 0, 3),
        ("", 7, 2, 4),
    ]
    assert [piece.options["max_characters"] for piece in pieces] == [9, 5, 9]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is no JSON object"),
        ('{"temprature": 1}', "unexpected keyword argument 'temprature'"),
        ('{"max_characters": -1}', "max_characters: "),
        ('{"temperature": "hot"}', "temperature: "),
        ('{"model": "x"}', "model: it can't be of one line"),
        ('{"prompt": 1}', "prompt: 1 is not a text"),
    ],
)
def test_a_bad_line_is_named_with_its_field(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(f'{{"prompt": "a"}}\n{line}\n')
    with pytest.raises(InvalidArgumentError) as caught:
        Requests(str(path), {}, 7)
    assert str(caught.value).startswith(f"requests: {path}, line 2: {complaint}")


def test_the_parts_of_shards_are_the_whole() -> None:
    plan_ = Samples([""], {}, 7)
    parts = [bounds(Job(count=10, shard=(part, 3)), plan_) for part in range(3)]
    assert parts == [(0, 3, None), (3, 6, None), (6, 10, None)]


def test_a_batch_that_may_reject_has_no_last_text() -> None:
    assert bounds(Job(count=10, unique=True), Samples([""], {}, 7)) == (0, None, 10)
    assert bounds(Job(count=10), Samples([""], {}, 7)) == (0, 10, None)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"count": 0}, "count: 0 is invalid"),
        ({"count": 1, "prompt": "a", "prefix": ("b",)}, "prompt, prefix: give one"),
        ({"requests": "a", "count": 1}, "count: the file of requests says it"),
        ({"count": 1, "shard": (2, 2)}, "shard: 2/2 is invalid; the parts of 2 are 0/2 to 1/2"),
        ({"count": 1, "shard": (0, 2), "unique": True}, "unique, shard: "),
        ({"count": 1, "columns": ("a", "a")}, "columns: a name is there twice"),
        ({"count": 1, "validate_regex": "("}, "validate_regex: '(' is invalid"),
    ],
)
def test_options_that_do_not_go_together_are_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Job(**fields)  # type: ignore[arg-type]
    assert str(caught.value).startswith(complaint)


def test_a_count_is_needed() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^count: it is missing"):
        plan_of(Job(), {}, 7)
