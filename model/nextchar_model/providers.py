"""Providers: onnxruntime sessions on the CPU and on CUDA."""

from __future__ import annotations

import os
from typing import Literal

from .cell import Precision

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
import onnxruntime

Provider = Literal["cpu", "cuda"]


_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class ProviderError(ValueError):
    """This machine or this onnxruntime can't run a model where it was asked to. The message has the remedy."""


def open_cpu(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU; ``threads`` share the work of one step."""
    return onnxruntime.InferenceSession(content, session_options(threads), providers=[_PROVIDERS["cpu"]])


def open_cuda(content: bytes, precision: Precision, threads: int) -> onnxruntime.InferenceSession:
    """A session on the first CUDA device, or a ``ProviderError`` that says what stands in the way."""
    if precision == "int8":
        raise ProviderError("an int8 model runs on the CPU only; for CUDA, export it with --precision fp32")
    if _PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"the installed onnxruntime {onnxruntime.__version__} has no CUDA provider; for CUDA, install the extra "
            "nextchar[server-cuda] in place of nextchar[server]"
        )
    try:
        session = onnxruntime.InferenceSession(content, session_options(threads), providers=[_PROVIDERS["cuda"]])
    except Exception as error:  # onnxruntime has no common class for what it raises
        raise ProviderError(f"CUDA does not start: {first_line(error)}") from error
    if _PROVIDERS["cuda"] not in session.get_providers():  # onnxruntime falls back without an error
        raise ProviderError("no CUDA device can be used: onnxruntime did not start its CUDA provider")
    return session


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Options of every session; ``threads`` share the work of one step."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena has one lock a session, on which lanes would wait for each other: without it, two lanes of 16 rows
    # give 1.9 times what one gives, with it 1.0 times. One lane alone costs the same.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4  # what goes wrong is raised, and reported once
    # Threads that spin while they wait take the core from whatever else runs on it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def first_line(error: Exception) -> str:
    """The first line of what ``error`` says, or the name of its class."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
