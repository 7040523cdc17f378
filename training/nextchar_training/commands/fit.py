"""The verb ``fit``: a new training run, from a corpus to a full run folder."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nextchar_cli.command_line import UsageError

from ..data.rules import Rules
from ..learning.recipe import Sizes
from . import options, rank
from .options import (
    AveragingOptions,
    BudgetOptions,
    Cache,
    Flag,
    Machine,
    PathArgument,
    SizesOptions,
    Sources,
    TrainingOptions,
    is_pipe,
)

Start = Annotated[
    PathArgument,
    Parameter(
        name="--from",
        help="Fine-tune: start with the weights of a checkpoint (.pt) or of a run folder (its best.pt). The "
        "network keeps its sizes and its alphabet, which must spell every character of the corpus. The corpus is "
        "read as the checkpoint's was, unless options say otherwise.",
    ),
]


def fit(
    corpus: Sources,
    /,
    *,
    out: Annotated[PathArgument, Parameter(help="Folder for the run.")],
    overwrite: Annotated[Flag, Parameter(help="Replace the run that the folder holds.")] = False,
    start: Start | None = None,
    tensorboard: Annotated[Flag, Parameter(help="Also write TensorBoard's file into the folder.")] = False,
    budget: BudgetOptions | None = None,
    sizes: SizesOptions | None = None,
    training: TrainingOptions | None = None,
    machine: Machine | None = None,
    averaging: AveragingOptions | None = None,
    rules: Rules | None = None,
    cache: Cache | None = None,
) -> int:
    """Trains a model on a corpus."""
    machine = machine or Machine()
    recipe = options.recipe(budget, training, averaging)
    chosen_sizes = options.built(Sizes, **options.given(sizes))
    if start is None:
        chosen = options.rules(rules)
    elif options.given(sizes):
        raise UsageError(f"--from keeps the network's sizes: leave out {options.names(sizes)}")
    if machine.processes > 1 and (pipes := [source for source in corpus if is_pipe(source)]):
        name = "standard input" if pipes[0] == "-" else pipes[0]
        raise UsageError(f"{name} can be read only once, but each process reads it: write it to a file first")
    # From here on torch is needed.
    from ..run.checkpoint import find_checkpoint, load_checkpoint
    from ..run.fit import Job
    from ..run.folder import RunFolder
    from ..run.terminal import show_summary
    from .texts import read_dataset
    from .training import command, device_of, set_threads, train

    folder = RunFolder(out, overwrite=overwrite or rank() > 0)
    folder.check_writable()
    device = device_of(machine.device, machine.processes)
    if start is None:
        initial, alphabet = None, None
    else:
        initial = load_checkpoint(find_checkpoint(start))
        alphabet = initial.alphabet
        chosen = options.rules(rules, initial.record.rules)
        if chosen.alphabet != alphabet.kind:
            raise UsageError(f"--from keeps the network's alphabet, {alphabet.kind}: leave out --alphabet")
    dataset = read_dataset(corpus, chosen, cache, alphabet=alphabet)
    set_threads(machine.threads, machine.processes)
    if rank() == 0:
        show_summary(dataset)
    job = Job(
        dataset=dataset,
        architecture=chosen_sizes.architecture(dataset.alphabet.size) if initial is None else initial.architecture,
        recipe=recipe,
        command=command(),
        device=device,
        tensorboard=tensorboard,
        initial=initial,
    )
    return train(job, folder, machine.processes)
