"""The requests of the HTTP API, as their callers write them.

First stage of a call: pydantic checks names and types here, ``requests`` makes messages of them, and the service checks
the rest as it does for gRPC.

Source: https://platform.openai.com/docs/api-reference/completions/create. Invariant: a field that isn't known, or whose
wish can't be granted, is refused by its name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

_UINT32, _UINT64 = 2**32 - 1, 2**64 - 1


def _check_text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"isn't text: half of a pair of surrogates at offset {error.start}") from None
    return value


Text = Annotated[str, AfterValidator(_check_text)]
Count = Annotated[int, Field(ge=0, le=_UINT32)]
Real = Annotated[float, Field(allow_inf_nan=False, ge=-1e30, le=1e30)]
Unknown = Literal["error", "skip", "replace"]

MOST_PROMPTS = 1000
"""Most prompts of a request, and most texts to score."""


MOST_NESTED = 200
"""Most levels of a JSON Schema: writing one that is far deeper exceeds Python's stack."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ActivationWish(_Strict):
    """Units of the network."""

    layer: Count = 0
    """Their recurrent layer; 0 is the first."""
    units: list[Count] = Field(max_length=64)
    """Their numbers."""


class StreamOptions(_Strict):
    """Options of a stream."""

    include_usage: bool | None = None
    """Whether a last chunk without choices has the usage. It is in the last chunk with text, too."""
    include_obfuscation: Literal[False] | None = None
    """Only false: no padding hides the lengths of chunks."""


class CompletionRequest(_Strict):
    """A text to generate. Fields that OpenAI doesn't have are named as in `GenerationParameters` of the protocol."""

    model_config = ConfigDict(use_attribute_docstrings=True, title="CompletionRequest")

    model: Text = ""
    """Name of the model, or NAME@DIGEST for one version of it. Empty: the server's default model."""
    prompt: Text | list[Text] | None = None
    """Text that the model reads first, or several, each with texts of its own. Absent: the start of a document."""
    resume_token: Text | None = None
    """Instead of a prompt: `resume_token` of an answer, or the id of an event, if the stream had a resume_interval. The
    text continues behind it, and max_tokens counts from there."""
    max_tokens: Count | None = None
    """Most characters to generate. Default: 256. With echo 0 too, which scores the prompt if logprobs is set."""
    temperature: Real | None = None
    """Divides the logits; 0 always takes the likeliest character. Default: 1."""
    top_p: Real | None = None
    """Sample among the fewest likeliest characters whose probabilities reach this sum. Default: 1."""
    n: Annotated[int, Field(ge=1, le=_UINT32)] | None = None
    """Number of texts for each prompt. Not with stream."""
    best_of: Annotated[int, Field(ge=1, le=_UINT32)] | None = None
    """Generate this many and return the n with the highest mean log-probability. Not with stream."""
    stream: bool | None = None
    """Whether the text is sent as it is generated, in server-sent events."""
    stream_options: StreamOptions | None = None
    """Options of a stream."""
    logprobs: Count | None = None
    """Return the log-probability of each character, and of this many likeliest alternatives."""
    echo: bool | None = None
    """Whether the text starts with the prompt."""
    stop: Text | list[Text] | None = None
    """Texts that end the generation as soon as one appears."""
    seed: Annotated[int, Field(ge=0, le=_UINT64)] | None = None
    """The same model file, numeric class, seed and request give the same text. Default: drawn, and in the answer."""
    logit_bias: dict[Text, Real] | None = None
    """Added to the logit of a character, in nats: the key is the character."""
    user: str | None = None
    """Ignored."""
    presence_penalty: Real | None = None
    """Only 0."""
    frequency_penalty: Real | None = None
    """Only 0."""
    suffix: Text | None = None
    """Only empty: these models read from left to right."""
    top_k: Count | None = None
    """Sample among this many likeliest characters. 0 is all of them, the default."""
    min_p: Real | None = None
    """Sample among characters at least this fraction as likely as the likeliest. Default: 0."""
    first_sample: Annotated[int, Field(ge=0, le=_UINT64)] | None = None
    """Number of the first of n texts."""
    include_stop_sequence: bool | None = None
    """Whether the text ends with the stop sequence that ended it."""
    regex: Text | None = None
    """Regular expression that the generated text matches as a whole."""
    choices: list[Text] | None = None
    """The generated text is one of these."""
    json_schema: dict[str, Any] | bool | Text | None = None
    """JSON Schema that the generated text satisfies."""
    min_characters: Count | None = None
    """Fewest characters before the model may end the document."""
    ignore_end_of_document: bool | None = None
    """Whether the model never ends the document."""
    allow_malformed: bool | None = None
    """Whether symbols may follow one another that form no text."""
    unknown_characters: Unknown | None = None
    """How to treat characters of the prompt that the model's alphabet lacks. Default: error."""
    replacement_character: Text | None = None
    """The character that replaces unknown ones, with `replace`."""
    include_activations: ActivationWish | None = None
    """Return gates and states of some units after each character."""
    resume_interval: Count | None = None
    """The ids of a stream are resume tokens, with at most this many characters between two. By default each event has a
    short id, behind which the text is generated again. A whole answer has its `resume_token` only if this is set."""

    @field_validator("prompt", mode="before")
    @classmethod
    def _refuse_tokens(cls, value: Any) -> Any:
        if isinstance(value, list) and any(isinstance(part, int | list) for part in value):
            raise ValueError(
                "arrays of tokens aren't served: the numbers of another tokenizer say nothing here; send text"
            )
        if isinstance(value, list) and not 1 <= len(value) <= MOST_PROMPTS:
            raise ValueError(f"{len(value)} prompts; there must be 1 to {MOST_PROMPTS}")
        return value

    @field_validator("json_schema")
    @classmethod
    def _refuse_depth(cls, value: Any) -> Any:
        level = [value]
        for _ in range(MOST_NESTED):
            level = [
                part
                for whole in level
                if isinstance(whole, dict | list)
                for part in (whole.values() if isinstance(whole, dict) else whole)
            ]
        if level:
            raise ValueError(f"is nested more than {MOST_NESTED} deep")
        return value

    @field_validator("presence_penalty", "frequency_penalty", "suffix")
    @classmethod
    def _refuse_wish(cls, value: Any) -> Any:
        if value:
            raise ValueError("isn't served; leave it out")
        return value

    @property
    def prompts(self) -> list[str]:
        """The prompts, at least one."""
        return self.prompt if isinstance(self.prompt, list) else [self.prompt or ""]


class ScoreBody(_Strict):
    """A text to score, or several, each from the start of a document."""

    model_config = ConfigDict(use_attribute_docstrings=True, title="ScoreRequest")

    model: Text = ""
    """Name of the model, or NAME@DIGEST for one version of it. Empty: the server's default model."""
    text: Text | None = None
    """The text."""
    texts: list[Text] | None = Field(default=None, min_length=1, max_length=MOST_PROMPTS)
    """Instead of text: several."""
    top_logprobs: Count | None = None
    """Return this many likeliest alternatives of each character."""
    details: bool | None = None
    """Return each character's rank and the entropy in its place."""
    include_activations: ActivationWish | None = None
    """Return gates and states of some units after each character."""
    unknown_characters: Unknown | None = None
    """How to treat characters that the model's alphabet lacks. Default: error."""
    replacement_character: Text | None = None
    """The character that replaces unknown ones, with `replace`."""
