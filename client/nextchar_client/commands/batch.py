"""``nextchar batch``: texts by the million, in order, into a file that a killed command continues."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack

from cyclopts import Parameter

from nextchar_cli.command_line import utf8

from ..batch.api import open_source, text_options
from ..batch.job import Job
from ..batch.layout import Format, Layout
from ..batch.sink import FileSink, state_path
from ..batch.state import Progress, State, StateError
from ..endpoint import DEFAULT_ENDPOINT
from ..options import AccessOptions, GenerationOptions
from . import CommandError, ExitCode, calling
from .access import Access, options_of
from .arguments import Endpoint, GenerationArguments, option
from .output import say, write_text

if TYPE_CHECKING:
    from ..batch.plan import Requests, Samples

    BatchArguments = GenerationOptions
else:
    _OF_ONE_TEXT = ("top_logprobs", "include_activations", "resume_interval", "resume_token")
    BatchArguments = TypedDict(
        "BatchArguments",
        {name: hint for name, hint in GenerationArguments.__annotations__.items() if name not in _OF_ONE_TEXT}
        | {"seed": Annotated[int | None, option("seed"), Parameter(show_default="drawn, and printed")]},
        total=False,
    )


def batch(
    requests: Annotated[str | None, Parameter(converter=utf8, show_default="texts of --prompt or --prefix")] = None,
    /,
    *,
    job: Annotated[Job | None, Parameter(name="*")] = None,
    out: Annotated[str | None, Parameter(converter=utf8, metavar="FILE", show_default="standard output")] = None,
    form: Annotated[Format | None, Parameter(name="--format", show_default="csv for --out NAME.csv, or jsonl")] = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    access: Access = None,
    **options: Unpack[BatchArguments],
) -> ExitCode:
    """Make many texts, in order, into a file that the same command continues after a kill.

    Parameters
    ----------
    requests:
        File of requests, one JSON object per line: a prompt and the options by their names, such as max_characters.
    out:
        Write the lines to this file, and how far it is to FILE.state.
    form:
        Write JSON, an object per line, or comma-separated values.
    """
    job = replace(job or Job(), requests=requests)
    path = None if out is None else Path(out)
    with _explained(path):
        run = _Run(job, path, form or ("csv" if path is not None and path.suffix == ".csv" else "jsonl"), options)
        with calling(endpoint):
            try:
                asyncio.run(run.run(endpoint, options_of(access)))
            except KeyboardInterrupt:
                if path is not None:
                    say(f"interrupted; the same command continues {path}")
                return ExitCode.INTERRUPTED
    return ExitCode.DONE


@contextmanager
def _explained(path: Path | None) -> Iterator[None]:
    """Turns the ends of a batch that aren't ends of calls into ``CommandError``."""
    from ..batch.work import RejectedError

    try:
        yield
    except StateError as error:
        raise CommandError(str(error), ExitCode.WRONG_REQUEST) from None
    except RejectedError as error:
        raise CommandError(str(error), ExitCode.FAILED) from None
    except OSError as error:
        if path is None:
            raise
        raise CommandError(f"cannot write {path}: {error.strerror}", ExitCode.FAILED) from None


class _Run:
    """One run of the command: the first one for its output, or one that continues."""

    def __init__(self, job: Job, path: Path | None, form: Format, options: GenerationOptions) -> None:
        from ..batch.plan import plan_of

        self._job, self._path, self._form, self._options = job, path, form, options
        self._before = None if path is None else State.read(state_path(path))
        seed = options.get("seed")
        if seed is None and self._before is not None:
            seed = self._before.made_from.get("seed")
        if seed is None:
            seed = secrets.randbits(64)
            say(f"seed {seed}")
        self._plan: Samples | Requests = plan_of(job, text_options(options), seed)

    async def run(self, endpoint: str, access: AccessOptions) -> None:
        """Makes the lines that are missing."""
        from ..batch.filters import Filters
        from ..batch.progress import Watch, shown
        from ..batch.work import Work

        async with AsyncExitStack() as stack:
            source = await open_source(self._job, endpoint, access, self._options)
            stack.push_async_callback(source.close)
            sink = self._sink({"model_digest": source.digest, "numeric_class": source.numeric_class})
            stack.callback(sink.close)
            if sink.is_complete:
                say(f"{self._path} is complete: {sink.progress.lines:,} lines")
                return
            filters = Filters(self._job, self._path)
            stack.callback(filters.close)
            if self._job.unique:
                filters.remember(sink.texts())
            work = Work(self._job, self._plan, source, filters, sink.progress)
            watch = Watch(work)
            sink.begin(with_header=self._job.shard is None or self._job.shard[0] == 0)
            try:
                async with shown(watch, work), aclosing(work.records()) as records:
                    async for some in records:
                        sink.write(some)
            except OSError:
                raise  # the file may lack lines that the progress counts
            except BaseException:
                sink.keep()
                raise
            sink.keep(is_complete=True)
            say(watch.summary())

    def _sink(self, model: dict[str, Any]) -> FileSink | _Output:
        from ..batch.filters import identity

        layout = Layout(self._form, self._job.columns, self._job.delimiter)
        if self._path is None:
            return _Output(layout)
        shard = None if self._job.shard is None else "/".join(map(str, self._job.shard))
        made_from = {"format": self._form, "count": self._job.count, "shard": shard}
        made_from |= {**self._plan.identity(), **identity(self._job), **model}
        return FileSink(self._path, layout, made_from, self._before)


class _Output:
    """Standard output, which can't be continued."""

    is_complete = False

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.progress = Progress()

    def texts(self) -> Iterator[str]:
        return iter(())

    def begin(self, *, with_header: bool) -> None:
        if with_header:
            self._write(self._layout.header)

    def write(self, records: list[Any]) -> None:
        self._write(self._layout.encode(records))

    def keep(self, *, is_complete: bool = False) -> None:
        pass

    def close(self) -> None:
        pass

    def _write(self, content: bytes) -> None:
        if sys.stdout.isatty():
            write_text(content.decode())
        elif content:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
