"""The verb ``export``: from a checkpoint to a checked model file."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from nextchar_cli.command_line import UsageError
from nextchar_cli.printable import printable

from .options import Cache, PathArgument, TextOption, TrainedModel, UnknownOption, check_file


def export(
    checkpoint: TrainedModel,
    /,
    *,
    out: Annotated[PathArgument, Parameter(help="The model file to write (.onnx).")],
    precision: Annotated[Literal["int8", "fp32"], Parameter(help="Precision of the weights.")] = "int8",
    scales: Annotated[
        Literal["output", "matrix"],
        Parameter(
            help="Scales of int8 weights: one per output of a matrix, or one per matrix, with which a lone text is a "
            "tenth faster and the loss some 0.0003 nats higher."
        ),
    ] = "output",
    text: TextOption | None = None,
    unknown: UnknownOption | None = None,
    cache: Cache | None = None,
) -> int:
    """Turns a checkpoint into a model file."""
    check_file(out)
    if unknown is not None and text is None:
        raise UsageError("--unknown-characters goes with --text")
    if scales != "output" and precision != "int8":
        raise UsageError("--scales goes with --precision int8: there are none in fp32")
    from ..data.split import EVALUATED_CHARACTERS
    from ..export.exporter import MAX_CHARACTERS
    from ..export.exporter import export as export_network
    from ..export.summary import training_summary
    from ..learning.evaluation import NetworkScorer, stateful_loss
    from ..run.checkpoint import find_checkpoint, load_checkpoint, read_held_out
    from ..run.held_out import first_characters
    from .texts import spelled

    path = find_checkpoint(checkpoint)
    loaded = load_checkpoint(path)
    network, record = loaded.network(), loaded.record
    documents = (
        read_held_out(loaded, path) if text is None else spelled(text, loaded, cache, EVALUATED_CHARACTERS, unknown)
    )
    loss = record.stateful_loss
    if loss is None:  # the training was stopped
        loss = stateful_loss(NetworkScorer(network), documents)
    export_network(
        network,
        loaded.alphabet,
        training_summary(record, loss),
        out,
        precision=precision,
        scales=scales,
        text=first_characters(documents, MAX_CHARACTERS),
        say=print,
    )
    print(printable(str(out)))
    return 0
