"""The conversion between the client's plain values and protobuf messages."""

import dataclasses
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import (
    AlternativeCharacter,
    CharacterLogprob,
    Finished,
    FinishReason,
    GenerationOptions,
    InternalError,
    InvalidArgumentError,
    Model,
    Replay,
    conversion,
)


def parameters(**options: Any) -> pb.GenerationParameters:
    return conversion.generation_request(pb.GenerateRequest, "", cast("GenerationOptions", options)).parameters


def test_options_that_are_left_out_are_absent() -> None:
    assert parameters().ListFields() == []


def test_none_means_left_out() -> None:
    options = dict.fromkeys(GenerationOptions.__annotations__.keys() - {"model", "stop"})
    assert parameters(**options).ListFields() == []


@pytest.mark.parametrize("name", ["max_characters", "temperature", "top_k", "top_p", "min_p", "seed", "top_logprobs"])
def test_zero_is_a_value(name: str) -> None:
    assert parameters(**{name: 0}).HasField(name)


@pytest.mark.parametrize("name", ["include_stop_sequence", "echo"])
def test_false_is_a_value(name: str) -> None:
    assert parameters(**{name: False}).HasField(name)


def test_every_parameter_of_the_contract_is_an_option() -> None:
    contract = {field.name for field in pb.GenerationParameters.DESCRIPTOR.fields}
    options = GenerationOptions.__annotations__.keys()
    assert contract - {"stop_sequences"} == options - {"stop", "model", "resume_token", "timeout"}


@pytest.mark.parametrize(
    ("given", "sent"), [("ab", ["ab"]), (("a", "b"), ["a", "b"]), (["ab"], ["ab"]), ((), []), ("", [""])]
)
def test_stop_is_one_text_or_several(given: Any, sent: list[str]) -> None:
    assert list(parameters(stop=given).stop_sequences) == sent


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("error", pb.UNKNOWN_CHARACTERS_ERROR),
        ("skip", pb.UNKNOWN_CHARACTERS_SKIP),
        ("replace", pb.UNKNOWN_CHARACTERS_REPLACE),
    ],
)
def test_unknown_characters_are_named(value: str, number: pb.UnknownCharacters) -> None:
    assert parameters(unknown_characters=value).unknown_characters == number


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_characters": -1}, "max_characters: "),
        ({"seed": 2**64}, "seed: "),
        ({"regex": "a\ud800"}, r"regex: U\+D800 at offset 1 is half a surrogate pair"),
        ({"stop": ["a", "b\udcff"]}, r"stop_sequences: U\+DCFF at offset 1"),
        (
            {"unknown_characters": "ignore"},
            "unknown_characters: 'ignore' is invalid; it must be error or",
        ),
    ],
)
def test_a_value_that_no_message_can_carry_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        parameters(**options)


@pytest.mark.parametrize(
    "options",
    [{"temperature": "warm"}, {"max_characters": 1.5}, {"regex": 5}, {"stop": 5}, {"character_bias": {"a": "much"}}],
)
def test_a_wrong_type_is_a_type_error_that_names_the_field(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(TypeError, match=name):
        parameters(**options)


def test_a_misspelt_option_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'temprature'"):
        parameters(temprature=1)


def test_a_prompt_with_half_a_surrogate_pair_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match="prompt: U"):
        conversion.generation_request(pb.GenerateRequest, "\udcff", {})


def test_an_empty_prompt_is_sent_as_a_prompt() -> None:
    request = conversion.generation_request(pb.GenerateStreamRequest, "", {})
    assert request.WhichOneof("start") == "prompt"


def test_every_finish_reason_of_the_contract_has_its_name() -> None:
    for name in pb.FinishReason.keys()[1:]:
        message = pb.GenerateStreamResponse(finished=pb.Finished(finish_reason=name))
        finished = conversion.event(message)
        assert isinstance(finished, Finished)
        assert finished.finish_reason.name == name.removeprefix("FINISH_REASON_")


def test_a_finish_reason_of_a_newer_contract_is_unknown() -> None:
    message = pb.GenerateStreamResponse()
    message.finished.MergeFromString(b"\x08\x63")  # field 1, finish_reason: 99
    finished = conversion.event(message)
    assert isinstance(finished, Finished)
    assert finished.finish_reason is FinishReason.UNKNOWN


def test_every_replay_of_the_contract_has_its_name() -> None:
    for name in pb.Replay.keys()[1:]:
        assert conversion.model(pb.Model(replay=name)).replay.name == name.removeprefix("REPLAY_")
    assert conversion.model(pb.Model()).replay is Replay.UNKNOWN


def test_a_model_has_every_field_of_the_contract() -> None:
    contract = [field.name for field in pb.Model.DESCRIPTOR.fields]
    assert [field.name for field in dataclasses.fields(Model)] == contract


def test_each_field_of_a_model_is_carried_over() -> None:
    booleans: dict[str, Any] = {"is_default": True, "batch_dependent": True, "is_current": True}
    message = pb.Model(replay=pb.REPLAY_EXACT, alphabet=["a", "b"], load_time=Timestamp(seconds=7), **booleans)
    names = [field.name for field in dataclasses.fields(Model)]
    for number, name in enumerate(names):
        if name not in {"replay", "alphabet", "load_time", *booleans}:
            setattr(message, name, type(getattr(message, name))(number))
    expected = {name: getattr(message, name) for name in names}
    plain = {"replay": "exact", "alphabet": ("a", "b"), "load_time": datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC)}
    assert dataclasses.asdict(conversion.model(message)) == expected | plain


def test_a_time_that_is_no_time_is_an_error_of_the_server() -> None:
    with pytest.raises(InternalError, match="time of the server is out of range"):
        conversion.load_failure(pb.LoadFailure(tried_time=Timestamp(seconds=2**62)))


def scored(text: str, **columns: Any) -> tuple[CharacterLogprob, ...]:
    return conversion.logprobs(text, pb.CharacterLogprobs(**columns))


def test_columns_of_log_probabilities_become_one_entry_per_character() -> None:
    assert scored(
        "ab",
        logprobs=[-0.5, -1],
        alternatives_per_character=2,
        alternatives="xy\uffff\ufffe",
        alternative_logprobs=[-2, -3, -4, 0],
    ) == (
        CharacterLogprob("a", -0.5, (AlternativeCharacter("x", -2), AlternativeCharacter("y", -3))),
        CharacterLogprob("b", -1, (AlternativeCharacter("", -4),)),  # the end of the document, and none
    )


def test_log_probabilities_may_have_no_alternatives_and_may_be_absent() -> None:
    assert scored("a", logprobs=[-0.5]) == (CharacterLogprob("a", -0.5, ()),)
    assert scored("a") == ()


@pytest.mark.parametrize(
    "columns",
    [
        {"logprobs": [-1]},
        {"logprobs": [-1, -1, -1]},
        {"logprobs": [-1, -1], "alternatives_per_character": 2**32 - 1},
        {"logprobs": [-1, -1], "alternatives_per_character": 1, "alternatives": "xy"},
        {"logprobs": [-1, -1], "alternatives_per_character": 1, "alternative_logprobs": [-1, -1]},
        {"logprobs": [-1, -1], "alternatives": "x", "alternative_logprobs": [-1]},
        {"alternatives_per_character": 1, "alternatives": "xy", "alternative_logprobs": [-1, -1]},
    ],
)
def test_columns_that_do_not_belong_to_the_text_are_an_error(columns: dict[str, Any]) -> None:
    with pytest.raises(InternalError, match="for a text of 2 characters, the server sent"):
        scored("ab", **columns)


@pytest.mark.parametrize("schema", ['{"const": "é"}', {"const": "é"}])
def test_a_json_schema_is_json_or_a_mapping(schema: Any) -> None:
    request = conversion.generation_request(pb.GenerateRequest, "", {"json_schema": schema})
    assert request.parameters.json_schema == '{"const": "é"}'


def test_a_json_schema_that_is_no_json_is_told_by_its_name() -> None:
    with pytest.raises(TypeError, match="json_schema: Object of type set is not JSON serializable"):
        conversion.generation_request(pb.GenerateRequest, "", {"json_schema": {"enum": {1}}})
