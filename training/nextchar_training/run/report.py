"""The report of a run: ``report.md``, with all that is needed to repeat the run and to judge it."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch

from nextchar_cli.printable import one_line, printable

from ..data.split import EVALUATED_CHARACTERS
from ..data.summary import summarized
from ..learning.evaluation import bits
from ..learning.hardware import has_fast_bf16
from ..learning.workers import Workers
from .advice import about_best
from .ancestry import Start
from .checkpoint import THEN, Checkpoint
from .ledger import Ledger
from .machine import processor
from .teachers import other_split

if TYPE_CHECKING:
    from .job import Job

_TEMPLATE = """\
# Training run

{command}

## Loss of the best checkpoint on {evaluated_part}

{losses}
Watched during training, on windows from all over the {part}: {best_loss:.4f} nats per character at step \
{best_step:,}, the best of the run; {last_loss:.4f} at the last step, {last_step:,}.

{advice}

![The losses along the way](loss.png)

## Corpus

{corpus}
- SHA-256 of the text: {sha256}

## Network and training

- {architecture}: {parameters:,} parameters
- {start}
{teachers}- budget {budget}; batch {recipe.batch_size} × {recipe.sequence_length} ids; \
learning rate {recipe.learning_rate:g}; seed {recipe.seed}
- dropout {recipe.dropout:g}, on the input {recipe.input_dropout:g}; weight decay {recipe.weight_decay:g}
- {last_step:,} steps, {epochs:.1f} epochs, {characters:,} characters in {seconds:,.0f} s: \
{speed:,.0f} characters/s, evaluations included
- precision: {precision}; the losses above are in float32

## Machine

- {processor}, {processors} processors seen, {workers}
- Python {python}, torch {torch}, nextchar {nextchar}, {system}
"""

_STOPPED = """\
The run was stopped, so this checkpoint was not evaluated. `nextchar-train resume` continues the run;
`nextchar-train evaluate best.pt CORPUS --split validation` evaluates the checkpoint as it is.
"""

_LOSSES = """\
| protocol | nats per character | bits per character |
|---|---|---|
| stateful: the state carried from the first character to the last | {stateful:.4f} | {stateful_bits:.4f} |
| windows of 256 characters, each from state zero | {windows:.4f} | {windows_bits:.4f} |
"""


def written_report(job: Job, best: Checkpoint, ledger: Ledger, workers: Workers) -> str:
    """Returns the report of a run with at least one evaluation, in Markdown."""
    architecture, record, last = best.architecture, best.record, ledger.all_rows[-1]
    sizes = f"{architecture.cell}, {architecture.layers} × {architecture.hidden_size}"
    return _TEMPLATE.format(
        command="\n".join(f"    {line}" for line in _commands(job)),
        evaluated_part=evaluated_part(job),
        part=job.dataset.rules.validation_name,
        losses=_losses(best),
        best_loss=record.validation_loss,
        best_step=record.step,
        last_loss=last.validation_loss,
        last_step=last.step,
        advice=_advice(job, ledger),
        corpus="\n".join(f"- {name}: {value}" for name, value in summarized(job.dataset, code)),
        sha256=record.corpus_sha256,
        architecture=f"{sizes}, embedding {architecture.embedding_size}",
        parameters=sum(weight.numel() for weight in best.weights.values()),
        start=_start(job, ledger),
        teachers="".join(f"- {line}\n" for line in _teachers(job)),
        recipe=job.recipe,
        budget=_budget(job, ledger),
        epochs=last.epoch,
        characters=last.characters,
        seconds=last.seconds,
        speed=last.characters / last.seconds,
        precision="bfloat16 autocast" if has_fast_bf16(job.device) else "float32 (no fast bfloat16 here)",
        processor=processor(),
        processors=os.cpu_count(),
        workers=_workers(job, workers),
        python=platform.python_version(),
        torch=torch.__version__,
        nextchar=version("nextchar"),
        system=f"{platform.system()} {platform.machine()}",
    )


def code(text: str) -> str:
    """Returns ``text`` as Markdown's code, in which no character has a meaning: it is longer fenced than it holds."""
    fence = "`" * (1 + _longest_fence(text))
    space = " " if text.startswith("`") or text.endswith("`") or text != text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}"


def fenced(text: str) -> str:
    """Returns ``text`` as a block of Markdown's code."""
    fence = "`" * max(3, 1 + _longest_fence(text))
    return f"{fence}\n{text}\n{fence}"


def _longest_fence(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def evaluated_part(job: Job) -> str:
    """Returns which text the final losses are of, in words."""
    part = job.dataset.rules.validation_name
    if job.split.validates_all:
        return f"the whole {part}"
    return f"the first {EVALUATED_CHARACTERS:,} characters of the {part}"


def _commands(job: Job) -> list[str]:
    """Returns the command of each training of the run, all but the last one joined to the next."""
    *earlier, last = map(printable, job.command.split(THEN))
    return [*(f"{command}{THEN.rstrip()}" for command in earlier), last]


def _losses(best: Checkpoint) -> str:
    stateful, windows = best.record.stateful_loss, best.record.windows_loss
    if stateful is None or windows is None:
        return _STOPPED
    return _LOSSES.format(stateful=stateful, stateful_bits=bits(stateful), windows=windows, windows_bits=bits(windows))


def _advice(job: Job, ledger: Ledger) -> str:
    lines = [about_best(ledger.all_rows, job.recipe.patience), *([] if job.size_advice is None else [job.size_advice])]
    return "\n".join(f"- {line}" for line in lines)


def _start(job: Job, ledger: Ledger) -> str:
    origin = "" if job.start is None else _origin(job.start, job.start_warning)
    if ledger.earlier:
        first = f"; it {origin}" if origin else ""
        return f"continues a finished run from its step {ledger.earlier[-1].step:,}, with a new schedule{first}"
    if origin:
        return origin
    return "starts from random weights" if job.given_alphabet is None else "starts from the weights of another run"


def _origin(start: Start, warning: str | None) -> str:
    told = "" if warning is None else f"; {warning}"
    return f"starts from the weights of step {start.step:,} of: {code(one_line(start.command))}{told}"


def _teachers(job: Job) -> list[str]:
    """Returns a line per teacher, and one that says how they teach."""
    if job.taught is None:
        return []
    teaching, part = job.taught.teaching, job.dataset.rules.validation_name
    lines = [
        f"taught by {code(printable(one.name))}: SHA-256 {one.sha256}, windows loss {one.windows_loss:.4f} nats per "
        f"character on {evaluated_part(job)}{'' if one.same_split else f'; {other_split(part)}'}"
        for one in job.taught.teachers
    ]
    lines.append(f"teachers' weight {teaching.teacher_weight:g}, temperature {teaching.teacher_temperature:g}")
    return lines


def _budget(job: Job, ledger: Ledger) -> str:
    if not ledger.earlier:
        return job.recipe.budget
    return f"{job.recipe.budget} more, after {ledger.earlier[-1].epoch:.1f} epochs"


def _workers(job: Job, workers: Workers) -> str:
    threads = torch.get_num_threads()
    processes = f"{workers.size} process{'' if workers.size == 1 else 'es'}"
    used = f"{processes} of {threads} thread{'' if threads == 1 else 's'}"
    if job.device.type == "cuda":
        return f"{workers.size} × {torch.cuda.get_device_name(job.device)}, {used}"
    return used
