"""The command ``nextchar-train``: one module per verb, imported when the verb is used.

Invariant: an error that a user can cause is one line on standard error, and no verb imports torch before its
options are known to be valid.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from types import FrameType

from nextchar_cli.command_line import make_app
from nextchar_cli.command_line import run as run_app
from nextchar_cli.printable import one_line
from nextchar_cli.streams import OUTPUT_CLOSED, unfailing_output

# Threads that spin while they wait for each other starve one another as soon as anything else runs: training with
# two threads on two cores fell to a tenth. OpenMP reads this when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# If NumPy is missing, torch warns of it just before the import that fails, which is reported in one line.
warnings.filterwarnings("ignore", message="Failed to initialize NumPy")

ERROR = 2
INTERRUPTED = 130

_VERBS = {
    "fit": "Train a model on a corpus.\n\n"
    "It trains for --minutes or for --epochs. Afterwards the run folder holds the best and the last checkpoint, the "
    "held-out text, the losses, samples and a report.",
    "resume": "Continue a run that was stopped or killed, or train a finished one for longer.\n\n"
    "An interrupted run ends as if it had never been interrupted, and takes no other option than --cache. A finished "
    "run needs --minutes or --epochs, which say how much longer it trains: its learning rate rises and falls once "
    "more, and best.pt stays until it is beaten.",
    "export": "Turn a checkpoint into a model file.\n\n"
    "The file is checked before it is written, on the text that fit held out and kept in the run folder, or on --text.",
    "evaluate": "Measure a model's loss on a text.\n\n"
    "The text is read as the model's own corpus was, unless options say otherwise. The loss is measured in two ways: "
    '"stateful" carries the state through each document; "windows" starts anew every 256 characters, so it compares '
    "with a transformer of that context.",
    "sample": "Write text with a model.\n\n"
    "A model that learned from lines writes twenty of them; any other model writes one text.",
    "compare": "Put runs side by side: their losses, and the settings that differ.",
    "report": "Judge the text that a model file generates.\n\n"
    "It tells how much of the text is copied from the training text, how varied it is, and how far its lines and "
    "characters are from the training text's, each beside the same figure of held-out text.",
    "gates": "Show an LSTM's gates and cells while it reads a text.\n\n"
    "It draws how often each gate is shut and open, and makes a page in which the text is coloured by the value of a "
    "cell that you choose.",
    "gradients": "Show how far back the error of each cell's network reaches.\n\n"
    "A network of each kind is trained on the corpus, each for the same --minutes or --epochs, and is measured before "
    "and after that. An RNN whose gradients explode is trained with clipping and without.",
}
"""The help of each verb. The list of commands shows the first line; the rest is on the verb's own page."""

_WORKING = {("fit",), ("resume",), ("export",), ("gates",), ("gradients",)}
"""The verbs whose work is in files. It continues if standard output, which only tells of it, has lost its reader."""

command_line: ContextVar[tuple[str, ...]] = ContextVar("command_line", default=())
"""The arguments of the running command: recorded in the checkpoint, and passed on to the workers."""

app = make_app(
    "nextchar-train",
    "Trains character-level recurrent models and exports them to one ONNX file.",
    exit_codes="Exit codes: 0: done. 2: an error, reported in one line on standard error. "
    "130: interrupted by Ctrl-C or SIGTERM; all progress so far is saved.",
)
for _sort_key, (_verb, _help) in enumerate(_VERBS.items()):
    app.command(f"{__name__}.{_verb}:{_verb}", name=_verb, help=_help, sort_key=_sort_key)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``nextchar-train`` with ``arguments``, or those of the process, and returns the exit code."""
    tokens = tuple(sys.argv[1:] if arguments is None else arguments)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = _run(tokens)
    except KeyboardInterrupt:
        code = INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    if code == 0 and rank() > 0:
        # A worker that trained beside rank 0 has nothing left to do or to say. Its threads of torch.distributed were
        # seen to abort it while the interpreter ended, which torchrun takes for a failure.
        os._exit(0)
    return code


def _run(tokens: tuple[str, ...]) -> int:
    try:
        command_line.set(tokens)
        with unfailing_output(_warn) if tokens[:1] in _WORKING else nullcontext():
            code = run_app(app, tokens)
        return 0 if code == OUTPUT_CLOSED else code  # the reader has seen enough, as in sample | head
    except ImportError as error:
        missing = (
            error.__cause__ if isinstance(error.__cause__, ImportError) else error
        )  # a verb's, wrapped by cyclopts
        if missing.name is None or missing.name.startswith("nextchar_"):
            raise
        _say(f"{missing.name} is not installed: pip install 'nextchar[training]'")
    except Exception as error:
        message = _explained(error)
        if message is None:
            raise
        if not (rank() > 0 and type(error).__name__ in ("WorkersError", "TrainingError")):  # else rank 0 says it
            _say(message)
    return ERROR


def _explained(error: Exception) -> str | None:
    """Returns what to tell the user, or None if the error is a bug."""
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return reason if error.filename is None else f"{os.fsdecode(error.filename)}: {reason}"
    if type(error).__module__.startswith("nextchar_"):
        return str(error)
    is_torchs = isinstance(error, RuntimeError) and any(word in str(error) for word in ("memory", "verflow"))
    if is_torchs or isinstance(error, MemoryError):
        return (
            "out of memory: smaller --hidden-size, --layers or --batch-size need less, and so does a smaller alphabet "
            "(--minimum-count leaves rare characters out)"
        )
    return None


def _say(message: str) -> None:
    print(f"nextchar-train: error: {one_line(message)}", file=sys.stderr)


def _warn(message: str) -> None:
    with suppress(OSError):  # standard error may be lost as well
        print(f"nextchar-train: warning: {one_line(message)}", file=sys.stderr)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def rank() -> int:
    """Returns this worker's rank (see ``learning.workers``): 0 unless it trains beside another."""
    return int(os.environ.get("RANK", "0"))
