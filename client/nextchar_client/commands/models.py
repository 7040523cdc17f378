"""``nextchar models``: the models of a server, the default one first."""

from __future__ import annotations

from dataclasses import asdict

from ..endpoint import DEFAULT_ENDPOINT
from . import ExitCode, calling
from .access import Access, options_of
from .arguments import Endpoint, Json, Timeout
from .output import say, write_json, write_records

_HEADINGS = ("MODEL", "NETWORK", "PARAMETERS", "ALPHABET", "ARITHMETIC", "REPLAY", "LOSS", "REQUESTS", "DIGEST")


def models(
    *, json: Json = False, endpoint: Endpoint = DEFAULT_ENDPOINT, timeout: Timeout = None, access: Access = None
) -> ExitCode:
    """List the models of the server, in all their versions."""
    from ..client import Client

    with calling(endpoint), Client(endpoint, timeout=timeout, **options_of(access)) as client:
        found = client.models()
        failures = client.load_failures()
    for failure in failures:
        say(f"warning: the server can't load {failure.name}: {failure.message}")
    if json:
        for model in found:
            write_json(asdict(model))
        return ExitCode.DONE
    rows = [
        (
            model.name + " (default)" * model.is_default,
            f"{model.cell} {model.layers}×{model.hidden_size}",
            f"{model.parameters:,}",
            f"{len(model.alphabet)} {model.alphabet_kind}",
            f"{model.precision} on {model.provider}",
            model.replay,
            f"{model.validation_loss:.4f}",
            f"{model.weight:.0%}" if model.is_current else "by digest",
            model.digest[:12],
        )
        for model in found
    ]
    write_records(rows, headings=_HEADINGS)
    return ExitCode.DONE
