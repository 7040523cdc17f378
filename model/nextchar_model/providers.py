"""The providers: onnxruntime sessions on the CPU and on CUDA.

The runner opens its session here. No session spins while it waits or prints to the log: errors are raised.
"""

from __future__ import annotations

import os
import re
from typing import Literal

from .cell import Precision

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
import onnxruntime

Provider = Literal["cpu", "cuda"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class ProviderError(ValueError):
    """This machine or this onnxruntime can't run the model on the provider asked for. The message names the remedy."""


def open_cpu(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    """Opens a session on the CPU; ``threads`` share the work of one step."""
    return onnxruntime.InferenceSession(content, session_options(threads), providers=[_PROVIDERS["cpu"]])


def open_cuda(content: bytes, precision: Precision, threads: int) -> onnxruntime.InferenceSession:
    """Opens a session on the first CUDA device. Raises ``ProviderError`` if that is impossible."""
    if precision == "int8":
        raise ProviderError("an int8 model runs on the CPU only; for CUDA, export it with --precision fp32")
    if _PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"the installed onnxruntime {onnxruntime.__version__} has no CUDA provider; for CUDA, install the extra "
            "nextchar[server-cuda] in place of nextchar[server]"
        )
    try:
        session = onnxruntime.InferenceSession(content, session_options(threads), providers=[_PROVIDERS["cuda"]])
    except Exception as error:  # onnxruntime's errors have no common class
        raise ProviderError(f"CUDA did not start: {reason(error)}") from error
    if _PROVIDERS["cuda"] not in session.get_providers():  # onnxruntime falls back without an error
        raise ProviderError("onnxruntime could not start its CUDA provider: is there a usable CUDA device?")
    return session


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Returns the options of every session; ``threads`` share the work of one step."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena has one lock per session, for which lanes would wait: without it, two lanes of 16 rows reach 1.9 times
    # the throughput of one, with it 1.0 times. A single lane is as fast either way.
    options.enable_cpu_mem_arena = False
    # Otherwise the bytes themselves could choose another format, which nobody has looked through.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4  # errors are raised, so logging them would report them twice
    # Threads that spin while they wait keep other work off their cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def reason(error: Exception) -> str:
    """Returns the first line of ``error``'s message without onnxruntime's code, or the name of its class."""
    message = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).strip()
    return message.splitlines()[0] if message else type(error).__name__
