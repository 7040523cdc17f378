"""The keywords that methods share: of ``stream`` and ``generate``, how to generate; of the clients, how to connect.

The docstrings of ``GenerationOptions`` are also the help of options of ``nextchar generate`` and ``nextchar score``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

UnknownCharacters = Literal["error", "skip", "replace"]
"""How to treat characters outside the model's alphabet."""


class GenerationOptions(TypedDict, total=False):
    """Keywords of a generation. One that is left out, or None, has the server's default.

    The server checks the ranges; its error names the parameter.
    """

    model: str
    """Name of the model, or NAME@DIGEST for one version of it. Default: the server's default model."""
    max_characters: int | None
    """Most characters to generate, not counting the prompt; at least 1. Default: 256."""
    temperature: float | None
    """Divides the logits, 0 to 100; 0 always takes the most likely character. Default: 1."""
    top_k: int | None
    """Sample among this many most likely characters; 0 means all. Default: 0."""
    top_p: float | None
    """Sample among the fewest most likely characters whose probabilities reach this sum, above 0 to 1. Default: 1."""
    min_p: float | None
    """Sample among characters at least this fraction as likely as the most likely one, 0 to 1. Default: 0."""
    seed: int | None
    """Seed of the random numbers, 0 to 2**64 - 1. Default: drawn by the server, which returns it."""
    stop: str | Sequence[str]
    """One text, or several, that end the generation as soon as they appear in it. Default: none."""
    include_stop_sequence: bool | None
    """End the text after the stop text, not just before it. Default: no."""
    echo: bool | None
    """Start the text with the prompt. Default: no."""
    top_logprobs: int | None
    """Return each character's log-probability, and this many most likely alternatives, 0 to 20. Default: none."""
    character_bias: Mapping[str, float] | None
    """Added to the logits of characters, in nats, -100 to 100. Default: none."""
    regex: str | None
    """Regular expression that the whole generated text matches, in the regular part of Python's syntax. Default: any
    text."""
    json_schema: str | Mapping[str, Any] | None
    """JSON Schema, as JSON or as a mapping, of which the generated text is a document. Default: any text."""
    choices: Sequence[str] | None
    """The generated text is one of these. Default: any text."""
    min_characters: int | None
    """Fewest characters before the model may end the document. Default: 0."""
    ignore_end_of_document: bool | None
    """Never end the document. Default: whether the model was trained on one document."""
    allow_malformed: bool | None
    """Allow bytes that aren't UTF-8 and jamo without their initial. Default: no."""
    include_activations: tuple[int, Sequence[int]] | None
    """Layer and units of the network whose gates and states are returned after each character. Default: none."""
    unknown_characters: UnknownCharacters | None
    """How to treat characters of the prompt, or of a scored text, outside the model's alphabet. Default: ``error``."""
    replacement_character: str | None
    """The character that takes the place of unknown ones, with ``replace``. Default: none."""
    resume_interval: int | None
    """Most characters between two resume tokens of a stream, with which another server continues it at once; 0: as many
    as possible. Default: only the end has one."""
    resume_token: bytes | None
    """Token of an earlier text, to continue it from there; in place of a prompt. Default: none."""
    timeout: float | None
    """Time limit of the whole call in seconds, retries included. Default: none, unless the client has one."""


class ScoreOptions(TypedDict, total=False):
    """Keywords of ``score_stream``. One that is left out, or None, has the server's default."""

    model: str
    """Name of the model, or NAME@DIGEST for one version of it. Default: the server's default model."""
    top_logprobs: int | None
    """Return this many most likely alternatives of each character, 0 to 20. Default: 0."""
    details: bool | None
    """Return each character's rank and the entropy in its place, if the alphabet is ``characters``. Default: no."""
    totals_only: bool | None
    """Return the ``ScoredText`` of each text and no ``ScoredPart``. Default: no."""
    unknown_characters: UnknownCharacters | None
    """How to treat characters outside the model's alphabet. Default: ``error``."""
    replacement_character: str | None
    """The character that takes the place of unknown ones, with ``replace``. Default: none."""
    timeout: float | None
    """Time limit of the whole call in seconds, retries included. Default: none, unless the client has one."""


class AccessOptions(TypedDict, total=False):
    """Keywords of a client: how it knows the server, and how the server knows the caller.

    Files are PEM, and are read once, when the client is made.
    """

    tls: bool
    """Use TLS: encrypt the connections and check the certificates of the servers. An endpoint that begins with
    ``grpcs://`` or ``https://``, ``tls_ca`` and ``tls_cert`` imply it."""
    tls_ca: str | PathLike[str] | None
    """File of the certificates of the authorities that may sign a server's. Default: the public authorities that come
    with gRPC, or those of the file that the variable ``GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`` names."""
    tls_cert: str | PathLike[str] | None
    """File of the client's certificate, followed by those between it and its authority, for servers that want one."""
    tls_key: str | PathLike[str] | None
    """File of the private key of ``tls_cert``, without a passphrase."""
    token: str | Callable[[], str] | None
    """Token by which the server knows the caller; every call sends it as ``authorization: Bearer …``. A function is
    asked for it before each try of a call, on the event loop, so that a token can be renewed; its exception ends the
    call."""
    allow_plaintext_token: bool
    """Send ``token`` without TLS to another machine too. It is readable on the way, so this is refused otherwise."""
