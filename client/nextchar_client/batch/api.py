"""Batches from Python: records one by one, or as a table.

A thin synchronous face of ``Work``, for scripts and notebooks. Imports gRPC when it is used.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any, Unpack, cast

from ..endpoint import DEFAULT_ENDPOINT
from ..options import AccessOptions, GenerationOptions
from .job import Job
from .record import Record

if TYPE_CHECKING:
    from .source import Source


def records(
    job: Job,
    *,
    endpoint: str | Sequence[str] = DEFAULT_ENDPOINT,
    access: AccessOptions | None = None,
    **options: Unpack[GenerationOptions],
) -> Generator[Record, None, None]:
    """Yields the records of ``job`` in order, those that ``nextchar batch`` writes.

    Makes them at ``endpoint``, or with the job's model file. ``access`` says how to connect, ``options`` how to
    generate. Without a ``seed`` one is drawn. Works beside a running event loop; leaving early ends all calls. Raises
    ``InvalidArgumentError`` if an option is invalid, another ``NextcharError`` if a call fails, and ``RejectedError``
    if too many texts are rejected.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="nextchar-batch", daemon=True)
    lists = _lists(job, endpoint, access or {}, options)

    async def following() -> list[Record] | None:
        return await anext(lists, None)

    thread.start()
    try:
        while True:
            future = asyncio.run_coroutine_threadsafe(following(), loop)
            try:
                kept = future.result()
            except BaseException:
                future.cancel()
                raise
            if kept is None:
                return
            yield from kept
    finally:
        asyncio.run_coroutine_threadsafe(lists.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def to_dataframe(
    job: Job,
    *,
    endpoint: str | Sequence[str] = DEFAULT_ENDPOINT,
    access: AccessOptions | None = None,
    **options: Unpack[GenerationOptions],
) -> Any:
    """The ``pandas.DataFrame`` of ``records(job, …)``: the job's columns, or one named ``text``.

    Its index is ``Record.number``. Raises ``ImportError`` if pandas isn't installed, and whatever ``records`` raises.
    """
    try:
        import pandas  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise ImportError("to_dataframe needs pandas, which is not installed: pip install pandas") from None
    rows = list(records(job, endpoint=endpoint, access=access, **options))
    values = [row.fields if job.columns else (row.text,) for row in rows]
    index = pandas.Index([row.number for row in rows], name="number", dtype="int64")
    return pandas.DataFrame(values, columns=list(job.columns) or ["text"], index=index)


async def open_source(
    job: Job, endpoint: str | Sequence[str], access: AccessOptions, options: GenerationOptions
) -> Source:
    """Opens the source of the texts of ``job``. Raises ``NextcharError`` if it can't be used."""
    if job.model_file is not None:
        from .model_file import ModelFile

        return ModelFile(job.model_file)
    from ..async_client import AsyncClient
    from .source import open_servers

    client = AsyncClient(endpoint, timeout=options.get("timeout"), **access)
    try:
        return await open_servers(client, options.get("model", ""), job.concurrency)
    except BaseException:
        await client.close()
        raise


def text_options(options: GenerationOptions) -> GenerationOptions:
    """Those of ``options`` on which each text depends, without the seed."""
    kept: dict[str, Any] = {name: value for name, value in options.items() if name not in ("model", "timeout", "seed")}
    return cast("GenerationOptions", kept)


async def _lists(
    job: Job, endpoint: str | Sequence[str], access: AccessOptions, options: GenerationOptions
) -> AsyncGenerator[list[Record], None]:
    from .filters import Filters
    from .plan import plan_of
    from .state import Progress
    from .work import Work

    seed = options.get("seed")
    plan = plan_of(job, text_options(options), secrets.randbits(64) if seed is None else seed)
    source = await open_source(job, endpoint, access, options)
    filters = Filters(job)
    lists = Work(job, plan, source, filters, Progress()).records()
    try:
        async for kept in lists:
            yield kept
    finally:
        await lists.aclose()
        filters.close()
        await source.close()
