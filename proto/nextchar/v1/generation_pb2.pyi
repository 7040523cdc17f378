import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UnknownCharacters(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN_CHARACTERS_UNSPECIFIED: _ClassVar[UnknownCharacters]
    UNKNOWN_CHARACTERS_ERROR: _ClassVar[UnknownCharacters]
    UNKNOWN_CHARACTERS_SKIP: _ClassVar[UnknownCharacters]
    UNKNOWN_CHARACTERS_REPLACE: _ClassVar[UnknownCharacters]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_MAX_CHARACTERS: _ClassVar[FinishReason]
    FINISH_REASON_STOP_SEQUENCE: _ClassVar[FinishReason]
    FINISH_REASON_END_OF_DOCUMENT: _ClassVar[FinishReason]
    FINISH_REASON_DRAINING: _ClassVar[FinishReason]
    FINISH_REASON_REGEX_COMPLETE: _ClassVar[FinishReason]

class CompletionBoundary(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPLETION_BOUNDARY_UNSPECIFIED: _ClassVar[CompletionBoundary]
    COMPLETION_BOUNDARY_WORD: _ClassVar[CompletionBoundary]
    COMPLETION_BOUNDARY_LINE: _ClassVar[CompletionBoundary]
    COMPLETION_BOUNDARY_CHARACTERS: _ClassVar[CompletionBoundary]

class Replay(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLAY_UNSPECIFIED: _ClassVar[Replay]
    REPLAY_EXACT: _ClassVar[Replay]
    REPLAY_CLOSE: _ClassVar[Replay]
UNKNOWN_CHARACTERS_UNSPECIFIED: UnknownCharacters
UNKNOWN_CHARACTERS_ERROR: UnknownCharacters
UNKNOWN_CHARACTERS_SKIP: UnknownCharacters
UNKNOWN_CHARACTERS_REPLACE: UnknownCharacters
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_MAX_CHARACTERS: FinishReason
FINISH_REASON_STOP_SEQUENCE: FinishReason
FINISH_REASON_END_OF_DOCUMENT: FinishReason
FINISH_REASON_DRAINING: FinishReason
FINISH_REASON_REGEX_COMPLETE: FinishReason
COMPLETION_BOUNDARY_UNSPECIFIED: CompletionBoundary
COMPLETION_BOUNDARY_WORD: CompletionBoundary
COMPLETION_BOUNDARY_LINE: CompletionBoundary
COMPLETION_BOUNDARY_CHARACTERS: CompletionBoundary
REPLAY_UNSPECIFIED: Replay
REPLAY_EXACT: Replay
REPLAY_CLOSE: Replay

class GenerateRequest(_message.Message):
    __slots__ = ("model", "prompt", "resume_token", "parameters", "samples", "first_sample", "best_of")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    BEST_OF_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt: str
    resume_token: bytes
    parameters: GenerationParameters
    samples: int
    first_sample: int
    best_of: int
    def __init__(self, model: _Optional[str] = ..., prompt: _Optional[str] = ..., resume_token: _Optional[bytes] = ..., parameters: _Optional[_Union[GenerationParameters, _Mapping]] = ..., samples: _Optional[int] = ..., first_sample: _Optional[int] = ..., best_of: _Optional[int] = ...) -> None: ...

class GenerateStreamRequest(_message.Message):
    __slots__ = ("model", "prompt", "resume_token", "parameters")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt: str
    resume_token: bytes
    parameters: GenerationParameters
    def __init__(self, model: _Optional[str] = ..., prompt: _Optional[str] = ..., resume_token: _Optional[bytes] = ..., parameters: _Optional[_Union[GenerationParameters, _Mapping]] = ...) -> None: ...

class GenerationParameters(_message.Message):
    __slots__ = ("max_characters", "temperature", "top_k", "top_p", "min_p", "seed", "stop_sequences", "include_stop_sequence", "echo", "top_logprobs", "character_bias", "regex", "unknown_characters", "replacement_character", "resume_interval", "choices", "min_characters", "ignore_end_of_document", "allow_malformed", "json_schema", "include_activations")
    class CharacterBiasEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MAX_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STOP_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_STOP_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ECHO_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_BIAS_FIELD_NUMBER: _ClassVar[int]
    REGEX_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    RESUME_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    MIN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    IGNORE_END_OF_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    ALLOW_MALFORMED_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    max_characters: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int
    stop_sequences: _containers.RepeatedScalarFieldContainer[str]
    include_stop_sequence: bool
    echo: bool
    top_logprobs: int
    character_bias: _containers.ScalarMap[str, float]
    regex: str
    unknown_characters: UnknownCharacters
    replacement_character: str
    resume_interval: int
    choices: _containers.RepeatedScalarFieldContainer[str]
    min_characters: int
    ignore_end_of_document: bool
    allow_malformed: bool
    json_schema: str
    include_activations: ActivationRequest
    def __init__(self, max_characters: _Optional[int] = ..., temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., min_p: _Optional[float] = ..., seed: _Optional[int] = ..., stop_sequences: _Optional[_Iterable[str]] = ..., include_stop_sequence: _Optional[bool] = ..., echo: _Optional[bool] = ..., top_logprobs: _Optional[int] = ..., character_bias: _Optional[_Mapping[str, float]] = ..., regex: _Optional[str] = ..., unknown_characters: _Optional[_Union[UnknownCharacters, str]] = ..., replacement_character: _Optional[str] = ..., resume_interval: _Optional[int] = ..., choices: _Optional[_Iterable[str]] = ..., min_characters: _Optional[int] = ..., ignore_end_of_document: _Optional[bool] = ..., allow_malformed: _Optional[bool] = ..., json_schema: _Optional[str] = ..., include_activations: _Optional[_Union[ActivationRequest, _Mapping]] = ...) -> None: ...

class ActivationRequest(_message.Message):
    __slots__ = ("layer", "units")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    layer: int
    units: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, layer: _Optional[int] = ..., units: _Optional[_Iterable[int]] = ...) -> None: ...

class Activations(_message.Message):
    __slots__ = ("layer", "units", "quantities", "values")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    QUANTITIES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    layer: int
    units: _containers.RepeatedScalarFieldContainer[int]
    quantities: _containers.RepeatedScalarFieldContainer[str]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, layer: _Optional[int] = ..., units: _Optional[_Iterable[int]] = ..., quantities: _Optional[_Iterable[str]] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("started", "text", "finished", "character_logprobs", "activations", "samples")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    started: Started
    text: str
    finished: Finished
    character_logprobs: CharacterLogprobs
    activations: Activations
    samples: _containers.RepeatedCompositeFieldContainer[Sample]
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., text: _Optional[str] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., character_logprobs: _Optional[_Union[CharacterLogprobs, _Mapping]] = ..., activations: _Optional[_Union[Activations, _Mapping]] = ..., samples: _Optional[_Iterable[_Union[Sample, _Mapping]]] = ...) -> None: ...

class Sample(_message.Message):
    __slots__ = ("index", "seed", "text", "finished", "character_logprobs", "total_logprob")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_LOGPROB_FIELD_NUMBER: _ClassVar[int]
    index: int
    seed: int
    text: str
    finished: Finished
    character_logprobs: CharacterLogprobs
    total_logprob: float
    def __init__(self, index: _Optional[int] = ..., seed: _Optional[int] = ..., text: _Optional[str] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., character_logprobs: _Optional[_Union[CharacterLogprobs, _Mapping]] = ..., total_logprob: _Optional[float] = ...) -> None: ...

class GenerateStreamResponse(_message.Message):
    __slots__ = ("started", "delta", "finished")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    started: Started
    delta: Delta
    finished: Finished
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., delta: _Optional[_Union[Delta, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("request_id", "model", "model_digest", "seed", "numeric_class")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NUMERIC_CLASS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    model_digest: str
    seed: int
    numeric_class: str
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ..., seed: _Optional[int] = ..., numeric_class: _Optional[str] = ...) -> None: ...

class Delta(_message.Message):
    __slots__ = ("text", "offset", "resume_token", "character_logprobs", "activations")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    text: str
    offset: int
    resume_token: bytes
    character_logprobs: CharacterLogprobs
    activations: Activations
    def __init__(self, text: _Optional[str] = ..., offset: _Optional[int] = ..., resume_token: _Optional[bytes] = ..., character_logprobs: _Optional[_Union[CharacterLogprobs, _Mapping]] = ..., activations: _Optional[_Union[Activations, _Mapping]] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("finish_reason", "stop_sequence", "usage", "resume_token")
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    STOP_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    finish_reason: FinishReason
    stop_sequence: str
    usage: Usage
    resume_token: bytes
    def __init__(self, finish_reason: _Optional[_Union[FinishReason, str]] = ..., stop_sequence: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., resume_token: _Optional[bytes] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_characters", "generated_characters")
    PROMPT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    GENERATED_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    prompt_characters: int
    generated_characters: int
    def __init__(self, prompt_characters: _Optional[int] = ..., generated_characters: _Optional[int] = ...) -> None: ...

class CharacterLogprobs(_message.Message):
    __slots__ = ("logprobs", "alternatives_per_character", "alternatives", "alternative_logprobs", "ranks", "entropies")
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_PER_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVE_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    ENTROPIES_FIELD_NUMBER: _ClassVar[int]
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    alternatives_per_character: int
    alternatives: str
    alternative_logprobs: _containers.RepeatedScalarFieldContainer[float]
    ranks: _containers.RepeatedScalarFieldContainer[int]
    entropies: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, logprobs: _Optional[_Iterable[float]] = ..., alternatives_per_character: _Optional[int] = ..., alternatives: _Optional[str] = ..., alternative_logprobs: _Optional[_Iterable[float]] = ..., ranks: _Optional[_Iterable[int]] = ..., entropies: _Optional[_Iterable[float]] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("model", "text", "top_logprobs", "unknown_characters", "replacement_character", "details", "include_activations")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    text: str
    top_logprobs: int
    unknown_characters: UnknownCharacters
    replacement_character: str
    details: bool
    include_activations: ActivationRequest
    def __init__(self, model: _Optional[str] = ..., text: _Optional[str] = ..., top_logprobs: _Optional[int] = ..., unknown_characters: _Optional[_Union[UnknownCharacters, str]] = ..., replacement_character: _Optional[str] = ..., details: _Optional[bool] = ..., include_activations: _Optional[_Union[ActivationRequest, _Mapping]] = ...) -> None: ...

class ScoreResponse(_message.Message):
    __slots__ = ("request_id", "model", "model_digest", "total_logprob", "bits_per_character", "text", "character_logprobs", "activations")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOTAL_LOGPROB_FIELD_NUMBER: _ClassVar[int]
    BITS_PER_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    model_digest: str
    total_logprob: float
    bits_per_character: float
    text: str
    character_logprobs: CharacterLogprobs
    activations: Activations
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ..., total_logprob: _Optional[float] = ..., bits_per_character: _Optional[float] = ..., text: _Optional[str] = ..., character_logprobs: _Optional[_Union[CharacterLogprobs, _Mapping]] = ..., activations: _Optional[_Union[Activations, _Mapping]] = ...) -> None: ...

class ScoreSettings(_message.Message):
    __slots__ = ("model", "top_logprobs", "details", "unknown_characters", "replacement_character", "totals_only")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    TOTALS_ONLY_FIELD_NUMBER: _ClassVar[int]
    model: str
    top_logprobs: int
    details: bool
    unknown_characters: UnknownCharacters
    replacement_character: str
    totals_only: bool
    def __init__(self, model: _Optional[str] = ..., top_logprobs: _Optional[int] = ..., details: _Optional[bool] = ..., unknown_characters: _Optional[_Union[UnknownCharacters, str]] = ..., replacement_character: _Optional[str] = ..., totals_only: _Optional[bool] = ...) -> None: ...

class ScoreStreamRequest(_message.Message):
    __slots__ = ("settings", "text", "is_end")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IS_END_FIELD_NUMBER: _ClassVar[int]
    settings: ScoreSettings
    text: str
    is_end: bool
    def __init__(self, settings: _Optional[_Union[ScoreSettings, _Mapping]] = ..., text: _Optional[str] = ..., is_end: _Optional[bool] = ...) -> None: ...

class ScoreStreamResponse(_message.Message):
    __slots__ = ("started", "part", "text")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    started: ScoreStarted
    part: ScoredPart
    text: ScoredText
    def __init__(self, started: _Optional[_Union[ScoreStarted, _Mapping]] = ..., part: _Optional[_Union[ScoredPart, _Mapping]] = ..., text: _Optional[_Union[ScoredText, _Mapping]] = ...) -> None: ...

class ScoreStarted(_message.Message):
    __slots__ = ("request_id", "model", "model_digest")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    model_digest: str
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ...) -> None: ...

class ScoredPart(_message.Message):
    __slots__ = ("text", "character_logprobs")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    text: str
    character_logprobs: CharacterLogprobs
    def __init__(self, text: _Optional[str] = ..., character_logprobs: _Optional[_Union[CharacterLogprobs, _Mapping]] = ...) -> None: ...

class ScoredText(_message.Message):
    __slots__ = ("characters", "total_logprob", "bits_per_character")
    CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_LOGPROB_FIELD_NUMBER: _ClassVar[int]
    BITS_PER_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    characters: int
    total_logprob: float
    bits_per_character: float
    def __init__(self, characters: _Optional[int] = ..., total_logprob: _Optional[float] = ..., bits_per_character: _Optional[float] = ...) -> None: ...

class RescoreRequest(_message.Message):
    __slots__ = ("model", "prefix", "candidates", "top_logprobs", "unknown_characters", "replacement_character")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    model: str
    prefix: str
    candidates: _containers.RepeatedScalarFieldContainer[str]
    top_logprobs: int
    unknown_characters: UnknownCharacters
    replacement_character: str
    def __init__(self, model: _Optional[str] = ..., prefix: _Optional[str] = ..., candidates: _Optional[_Iterable[str]] = ..., top_logprobs: _Optional[int] = ..., unknown_characters: _Optional[_Union[UnknownCharacters, str]] = ..., replacement_character: _Optional[str] = ...) -> None: ...

class RescoreResponse(_message.Message):
    __slots__ = ("request_id", "model", "model_digest", "scores")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    model_digest: str
    scores: _containers.RepeatedCompositeFieldContainer[CandidateScore]
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ..., scores: _Optional[_Iterable[_Union[CandidateScore, _Mapping]]] = ...) -> None: ...

class CandidateScore(_message.Message):
    __slots__ = ("total_logprob", "bits_per_character", "text", "character_logprobs")
    TOTAL_LOGPROB_FIELD_NUMBER: _ClassVar[int]
    BITS_PER_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    total_logprob: float
    bits_per_character: float
    text: str
    character_logprobs: CharacterLogprobs
    def __init__(self, total_logprob: _Optional[float] = ..., bits_per_character: _Optional[float] = ..., text: _Optional[str] = ..., character_logprobs: _Optional[_Union[CharacterLogprobs, _Mapping]] = ...) -> None: ...

class CompleteRequest(_message.Message):
    __slots__ = ("model", "prompt", "count", "boundary", "regex", "max_characters", "unknown_characters", "replacement_character")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BOUNDARY_FIELD_NUMBER: _ClassVar[int]
    REGEX_FIELD_NUMBER: _ClassVar[int]
    MAX_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_CHARACTER_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt: str
    count: int
    boundary: CompletionBoundary
    regex: str
    max_characters: int
    unknown_characters: UnknownCharacters
    replacement_character: str
    def __init__(self, model: _Optional[str] = ..., prompt: _Optional[str] = ..., count: _Optional[int] = ..., boundary: _Optional[_Union[CompletionBoundary, str]] = ..., regex: _Optional[str] = ..., max_characters: _Optional[int] = ..., unknown_characters: _Optional[_Union[UnknownCharacters, str]] = ..., replacement_character: _Optional[str] = ...) -> None: ...

class CompleteResponse(_message.Message):
    __slots__ = ("request_id", "model", "model_digest", "completions", "is_exact")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    COMPLETIONS_FIELD_NUMBER: _ClassVar[int]
    IS_EXACT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    model_digest: str
    completions: _containers.RepeatedCompositeFieldContainer[Completion]
    is_exact: bool
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ..., completions: _Optional[_Iterable[_Union[Completion, _Mapping]]] = ..., is_exact: _Optional[bool] = ...) -> None: ...

class Completion(_message.Message):
    __slots__ = ("text", "logprob")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    text: str
    logprob: float
    def __init__(self, text: _Optional[str] = ..., logprob: _Optional[float] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "load_failures")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    LOAD_FAILURES_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    load_failures: _containers.RepeatedCompositeFieldContainer[LoadFailure]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., load_failures: _Optional[_Iterable[_Union[LoadFailure, _Mapping]]] = ...) -> None: ...

class LoadFailure(_message.Message):
    __slots__ = ("name", "reason", "message", "tried_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TRIED_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    message: str
    tried_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., tried_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "digest", "is_default", "cell", "layers", "hidden_size", "parameters", "alphabet_kind", "alphabet", "precision", "provider", "numeric_class", "replay", "batch_dependent", "validation_loss", "state_bytes", "max_characters", "max_prompt_characters", "load_time", "is_current", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    CELL_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_SIZE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ALPHABET_KIND_FIELD_NUMBER: _ClassVar[int]
    ALPHABET_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    NUMERIC_CLASS_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    BATCH_DEPENDENT_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_LOSS_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_PROMPT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    LOAD_TIME_FIELD_NUMBER: _ClassVar[int]
    IS_CURRENT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    is_default: bool
    cell: str
    layers: int
    hidden_size: int
    parameters: int
    alphabet_kind: str
    alphabet: _containers.RepeatedScalarFieldContainer[str]
    precision: str
    provider: str
    numeric_class: str
    replay: Replay
    batch_dependent: bool
    validation_loss: float
    state_bytes: int
    max_characters: int
    max_prompt_characters: int
    load_time: _timestamp_pb2.Timestamp
    is_current: bool
    weight: float
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., is_default: _Optional[bool] = ..., cell: _Optional[str] = ..., layers: _Optional[int] = ..., hidden_size: _Optional[int] = ..., parameters: _Optional[int] = ..., alphabet_kind: _Optional[str] = ..., alphabet: _Optional[_Iterable[str]] = ..., precision: _Optional[str] = ..., provider: _Optional[str] = ..., numeric_class: _Optional[str] = ..., replay: _Optional[_Union[Replay, str]] = ..., batch_dependent: _Optional[bool] = ..., validation_loss: _Optional[float] = ..., state_bytes: _Optional[int] = ..., max_characters: _Optional[int] = ..., max_prompt_characters: _Optional[int] = ..., load_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., is_current: _Optional[bool] = ..., weight: _Optional[float] = ...) -> None: ...
