"""The configuration: flags and ``NEXTCHAR_*`` variables, checked once, then frozen.

A flag goes before its variable, a variable before the default.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PACKAGED_MODEL = Path(__file__).parent / "models" / "shakespeare.onnx"


def _cores() -> int:
    """Cores that this process may use, by its affinity and by its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no control groups, or no quota: "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return cores


class Config(BaseSettings):
    """Serves text generation from character-level models over gRPC.

    Every flag is also a variable: NEXTCHAR_GRPC_PORT for --grpc-port. Exit codes: 0 stopped by a signal and
    drained, 1 could not start, 2 a flag or a variable is wrong.
    """

    model_config = SettingsConfigDict(
        env_prefix="NEXTCHAR_",
        frozen=True,
        cli_prog_name="nextchar-server",
        cli_kebab_case=True,
        cli_hide_none_type=True,
    )

    model: Annotated[tuple[str, ...], NoDecode] = Field(
        (str(PACKAGED_MODEL),),
        min_length=1,
        description="a model file; repeat it for several, the first is the default one. NAME is the file's name "
        "without .onnx unless given. In the variable, commas stand between them.",
    )
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 is every IPv4 one")
    grpc_port: int = Field(50051, ge=0, le=65535, description="port of gRPC; 0 takes a free one")
    http_port: int = Field(8080, ge=0, le=65535, description="port of /metrics, /healthz, /readyz; 0 takes a free one")
    provider: Literal["auto", "cpu", "cuda"] = Field("auto", description="where models run; auto says what it chose")
    lanes: int = Field(
        _cores(),
        ge=1,
        le=4096,
        description="threads that advance a batch each, a model; one a core here",
    )
    threads_per_lane: int = Field(1, ge=1, le=256, description="threads that share the work of one step")
    max_batch: int = Field(1024, ge=1, le=4096, description="rows of a lane's batch")
    queue_size: int = Field(1024, ge=0, description="requests that wait for a row, a model; more are turned away")
    turn_budget: float = Field(
        0.005, gt=0, le=1, description="seconds of a turn, about what a new request waits; 16 steps at least"
    )
    drain_timeout: float = Field(30.0, ge=0, description="seconds that running streams get to finish at SIGTERM")
    max_characters: int = Field(100_000, ge=1, le=2**31, description="most characters that one request generates")
    max_prompt_characters: int = Field(65_536, ge=1, le=2**20, description="most characters of a prompt")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")

    @field_validator("model", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("model")
    @classmethod
    def _check_names(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        names = [name for name, _ in map(_name_and_path, values)]
        for value, name in zip(values, names, strict=True):
            if not name:
                raise ValueError(f"{value!r} gives no name; write NAME=PATH or PATH")
            if names.count(name) > 1:
                raise ValueError(f"two models are named {name!r}; name one of them with NAME=PATH")
        return values

    @property
    def models(self) -> dict[str, Path]:
        """The model files by name, the default one first."""
        return dict(map(_name_and_path, self.model))


def _name_and_path(value: str) -> tuple[str, Path]:
    name, separator, path = value.partition("=")
    return (name, Path(path)) if separator else (Path(value).stem, Path(value))
