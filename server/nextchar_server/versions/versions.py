"""Versions: keeps the catalog in step with the model files, while the server runs.

Between the files and the catalog. A file that is new is loaded beside the models in service; then all that changed is
swapped in at once, between two events of the loop. Versions that were replaced are kept as long as there are no more
than ``keep_versions`` of a model; a version that is neither kept nor used is unloaded, and its memory goes back to the
operating system.

Invariant: a file that can't be served changes nothing: the version before it stays. There is always one model at least.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from nextchar_model.description import ModelFileError

from .. import cores, heap, watching
from ..catalog import Catalog, Family, Limits, LoadFailure, ServedModel
from ..engine.engine import Engine
from ..listening import StartError
from ..metrics import Metrics, TextMetrics
from ..rpc import requests, responses
from ..settings.config import Config
from ..shares import default_lanes
from . import loading
from .collector import ModelCollector
from .loading import Loaded, in_background
from .sources import ModelSource, ModelSources, Refused

_log = structlog.get_logger()


@dataclass(frozen=True)
class _File:
    """A model file as it was when it was looked at last."""

    source: ModelSource
    state: watching.State = ()
    digest: str = ""
    """Of the version that is served for it; empty without one."""
    failure: LoadFailure | None = None
    """Why that isn't the file itself."""


_Files = dict[str, _File]
"""Files by the key of their source."""

_Fresh = dict[tuple[str, str], Loaded]
"""Files that were loaded and don't serve yet, by name and digest."""


class Versions:
    """The versions of all models. Used on one event loop."""

    def __init__(self, config: Config, metrics: Metrics) -> None:
        self._config = config
        self._limits = Limits(config.max_characters, config.max_prompt_characters)
        self._sources = ModelSources(config.models, config.models_dir)
        self._metrics = metrics
        for reason in loading.REASONS:
            metrics.model_load_failures.labels(reason)
        self._collector = ModelCollector()
        metrics.registry.register(self._collector)
        self._files: _Files = {}
        self._unloading: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive
        self.catalog = Catalog()
        """The models in service; none before ``start``."""
        self.most_bytes = 0
        """Size from which no request is valid. gRPC gets it when the server starts, so later models must fit."""

    @property
    def most_fields(self) -> int:
        """Number of fields that the largest valid request has."""
        return requests.most_fields(self.catalog.most_symbols)

    def paths(self) -> list[Path]:
        """Returns the files to watch. Any thread may call this."""
        return self._sources.paths()

    async def start(self) -> None:
        """Loads all files. Those of the folder that can't be served are left out.

        Raises ``ModelFileError`` if a file of ``--model`` can't be served, or if there is no model, and ``StartError``
        if the folder can't be read.
        """
        folder = self._sources.folder
        try:
            sources = await asyncio.to_thread(self._sources.find)
        except OSError as error:
            raise StartError(f"--models-dir {folder}: can't be read: {error.strerror}") from error
        files: _Files = {}
        fresh: _Fresh = {}
        for source in sources:
            files[source.key], refused = await self._look(source, fresh)
            if refused is not None and source.is_named:
                raise ModelFileError(refused.message)
        families = self._families(files, fresh)
        if not families:
            raise ModelFileError(f"--models-dir {folder}: has no NAME.onnx that can be served")
        self._swap(files, families)
        self.most_bytes = requests.most_bytes(self._limits, self.catalog.most_symbols)

    async def refresh(self) -> None:
        """Looks at all files, loads those that changed, and swaps them in."""
        try:
            sources = await asyncio.to_thread(self._sources.find)
        except OSError as error:
            message = f"--models-dir {self._sources.folder}: can't be read: {error.strerror}"
            self._report("", Refused("unreadable", message), None)
            return
        fresh: _Fresh = {}
        files = {source.key: (await self._look(source, fresh))[0] for source in sources}
        families = self._families(files, fresh)
        if not families:
            name, family = next(iter(self.catalog.families.items()))
            _log.warning("last_model_kept", model=name, hint="its file was removed; a server has at least one model")
            families = {name: replace(family, canaries=())}
        self._swap(files, families)

    def stop(self) -> None:
        """Ends the lanes of all versions, and waits for them. Called in a thread, after the last call."""
        for version in self.catalog:
            version.engine.stop()

    async def _look(self, source: ModelSource, fresh: _Fresh) -> tuple[_File, Refused | None]:
        """Looks at a file, and loads it into ``fresh`` if it is new. Returns why it is refused, too."""
        known = self._files.get(source.key) or _File(source)
        state = await asyncio.to_thread(watching.state, lambda: [source.path])
        if (refused := source.refused) is not None:
            is_told = known.failure is not None and known.source.refused == refused
            failure = known.failure if is_told else self._report(source.key, refused, source.path)
            return _File(source, state, "", failure), refused
        if known.source == source and known.state == state and _is_settled(known):
            return known, None
        digest = await in_background(partial(loading.digest, source.path))
        family = self.catalog.families.get(source.name)
        is_loaded = family is not None and any(version.digest == digest for version in family.all)
        if not is_loaded and (source.name, digest) not in fresh:
            loaded = await self._load(source.path)
            if isinstance(loaded, Refused):
                return _File(source, state, known.digest, self._report(source.key, loaded, source.path)), loaded
            digest = loaded.runner.digest
            fresh[source.name, digest] = loaded
        return _File(source, state, digest), None

    async def _load(self, path: Path) -> Loaded | Refused:
        try:
            loaded = await in_background(partial(loading.load, path, self._config))
        except Exception as error:
            if not self.most_bytes:  # the server starts
                raise
            _log.exception("model_load_broke", path=str(path))
            return Refused("error", f"{path}: can't be loaded: {type(error).__name__}; the server's log has the rest")
        if isinstance(loaded, Loaded) and self.most_bytes:
            symbols = len(loaded.runner.description.alphabet.symbols)
            if requests.most_bytes(self._limits, symbols) > self.most_bytes:
                return Refused(
                    "size",
                    f"{path}: requests to a model of {symbols} symbols may be larger than the {self.most_bytes} bytes "
                    "that this server takes until it is started again",
                )
        return loaded

    def _report(self, key: str, refused: Refused, path: Path | None) -> LoadFailure:
        """Counts and logs that a file was refused."""
        self._metrics.model_load_failures.labels(refused.reason).inc()
        if self.most_bytes or key not in self._config.models:  # or else the server doesn't start, and says why itself
            _log.error("model_load_failed", model=key, reason=refused.reason, error=refused.message)
        shown = refused.message if path is None else refused.message.replace(str(path), path.name)
        return LoadFailure(key, refused.reason, shown, time.time())

    def _families(self, files: _Files, fresh: _Fresh) -> dict[str, Family]:
        """Returns the models that ``files`` make, and starts those that are ``fresh``."""
        versions = {(version.name, version.digest): version for version in self.catalog}

        def version(file: _File) -> ServedModel:
            key = file.source.name, file.digest
            if key not in versions:
                versions[key] = self._make(key[0], fresh[key])
            return versions[key]

        served = [file for file in files.values() if file.digest]
        families = {}
        for main in served:
            if main.source.share is not None:
                continue
            name = main.source.name
            canaries = sorted((file for file in served if file.source.name == name), key=lambda file: file.source.key)
            shares = tuple((file.source.share, version(file)) for file in canaries if file.source.share)
            family = Family(version(main), shares)
            before = self.catalog.families.get(name)
            kept = [one for one in before.all if one not in family.current] if before else []
            families[name] = replace(family, kept=tuple(kept[: self._config.keep_versions]))
        return families

    def _make(self, name: str, loaded: Loaded) -> ServedModel:
        """Starts the lanes of a version."""
        config, metrics = self._config, self._metrics
        batch_rows, step_seconds = metrics.batch_rows.labels(name), metrics.step_seconds.labels(name)

        def observe(rows: int, seconds: float) -> None:
            batch_rows.observe(rows)
            step_seconds.observe(seconds)

        runner, replay = loaded.runner, loaded.replay
        engine = Engine(
            runner,
            lanes=config.lanes or default_lanes(cores.usable()),
            max_batch=config.max_batch,
            queue_size=config.queue_size,
            turn_budget=config.turn_budget,
            stall_timeout=config.stall_timeout,
            observe=observe,
        )
        version = ServedModel(name, runner, replay, engine, self._limits, TextMetrics(metrics, name), time.time())
        version.answer.model.CopyFrom(responses.model(version))
        self._collector.add(version)
        _log.info(
            "model_loaded",
            model=name,
            digest=runner.digest,
            sealed=runner.is_sealed,
            precision=runner.description.precision,
            provider=runner.provider,
            provider_reason=runner.provider_reason,
            replay="exact" if replay.exact else "close",
            numeric_class=replay.numeric_class,
        )
        return version

    def _swap(self, files: _Files, families: dict[str, Family]) -> None:
        """Serves ``families``, which ``files`` make, from now on."""
        self._files = files
        before = self.catalog.families
        self.catalog.replace(families, self._unload)
        failures = [file.failure for file in files.values() if file.failure is not None]
        self._collector.refused = len(failures)
        self.catalog.listing = responses.listing(families.values(), failures)
        current = {version for family in families.values() for version in family.current}
        for version in self.catalog:
            # A version that was replaced reads few prompts; the memory is for those that serve.
            version.engine.prefixes.resize(self._config.prefix_cache * 2**20 if version in current else 0)
        for name in before.keys() - families.keys():
            _log.info("model_removed", model=name)
        for name, family in families.items():
            if name in before and (old := before[name].main) is not family.main:
                _log.info("model_replaced", model=name, digest=family.main.digest, before=old.digest)

    def _unload(self, version: ServedModel) -> None:
        """Unloads ``version``, which nothing uses any more."""
        self._collector.remove(version)
        version.engine.close()
        end = _end(version.engine, version.name, version.digest)
        task = asyncio.create_task(end, context=Context())  # and not in that of its last call
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)


def _is_settled(file: _File) -> bool:
    """Whether another look at the same file would find the same."""
    return bool(file.digest) if file.failure is None else file.failure.reason not in loading.PASSING


async def _end(engine: Engine, name: str, digest: str) -> None:
    await in_background(engine.join)
    del engine  # the last reference to the model
    await in_background(heap.trim)
    _log.info("model_unloaded", model=name, digest=digest)
