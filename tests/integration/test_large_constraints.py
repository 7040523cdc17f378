"""Constraints with many states: long lists of choices, JSON schemas, and the memory that they take."""

import asyncio
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from nextchar.v1 import generation_pb2 as pb
from tests.support.asking import generated
from tests.support.korean_model import make_korean_model
from tests.support.serving import Serve
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until


async def test_one_of_a_hundred_thousand_choices_is_generated(tiny: TinyModel, serve: Serve) -> None:
    letters = tiny.alphabet.symbols[:20]
    choices = ["".join(letters[number // 20**place % 20] for place in range(4)) for number in range(100_000)]
    async with serve(tiny.int8) as serving:
        texts = [await generated(serving, choices=choices, seed=seed) for seed in range(3)]
    assert {text for text, _ in texts} <= set(choices)


async def test_every_text_is_a_document_of_the_json_schema(tmp_path: Path, serve: Serve) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        },
        "required": ["name", "age"],
    }
    async with serve(make_korean_model("bytes", tmp_path)) as serving:
        asked: dict[str, Any] = {"json_schema": json.dumps(schema), "max_characters": 60}
        texts = await asyncio.gather(
            *(generated(serving, seed=seed, temperature=0.7 * (seed % 4), **asked) for seed in range(30))
        )
    for text, finished in texts:
        Draft202012Validator(schema).validate(json.loads(text))
        assert finished.finish_reason == pb.FINISH_REASON_REGEX_COMPLETE


async def test_calls_of_a_connection_hold_the_memory_of_their_automaton_together(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, memory_budget=16) as serving:
        asked: dict[str, Any] = {"regex": "[a-z]{2}|[a-z]{4000}", "max_characters": 9}
        texts = await asyncio.gather(*(generated(serving, seed=seed, **asked) for seed in range(24)))
        assert {len(text) for text, _ in texts} == {2}
        await until(lambda: serving.server._budget.used == 0)
