"""The baselines of the benchmark, as processes under its load generators."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.models import SMALL, alphabet_of, checkpoint_file, model_file
from benchmarks.servers import Load, Server, baseline, free_port, served
from nextchar_model.runner import Runner

pytestmark = pytest.mark.slow

ALPHABET = "".join(alphabet_of(SMALL.alphabet_size).symbols)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("b")  # short, for the path of a socket in it is limited


@contextmanager
def framework(name: str, folder: Path, model: Path) -> Iterator[Server]:
    """The baseline of a framework, once it has answered, or skips the test."""
    pytest.importorskip(name, reason=f"{name} isn't installed; `make bench` does")
    with baseline(folder, f"with_{name}", model) as server:
        yield replace(server, dialect="texts", alphabet=ALPHABET)


def text_of(server: Server, prompt: str, characters: int, seed: int) -> str:
    body = json.dumps({"prompt": prompt, "max_characters": characters, "seed": seed}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/texts", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return "".join(json.loads(line.removeprefix("data: "))["text"] for line in lines if line)


@pytest.mark.parametrize("name", ["mosec", "litserve"])
def test_a_framework_with_our_kernel_gives_the_texts_of_the_runner(name: str, folder: Path) -> None:
    model = model_file(folder, SMALL)
    runner = Runner(model)
    with framework(name, folder, model) as server:
        for prompt, seed in (("ROMEO:", 7), ("", 8)):
            ids = runner.generate(prompt, seed, 100).ids[-100:, 0]
            assert text_of(server, prompt, 100, seed) == "".join(ALPHABET[id_ - 1] for id_ in ids)


@pytest.mark.parametrize("name", ["mosec", "litserve"])
def test_a_framework_with_pytorch_answers_callers_that_start_at_different_times(name: str, folder: Path) -> None:
    with framework(name, folder, checkpoint_file(folder, SMALL)) as server:
        report = Load(server, streams=6, requests=18, max_characters=50, ramp=0.1).report()
    assert (report["completed"], report["characters"]) == (18, 18 * 50)


@pytest.mark.parametrize("name", ["eager", "stepped"])
def test_a_plain_baseline_answers_the_same_load(name: str, folder: Path) -> None:
    with baseline(folder, name, checkpoint_file(folder, SMALL)) as server:
        report = Load(server, streams=6, requests=18, max_characters=50, ramp=0.1).report()
    assert (report["completed"], report["characters"]) == (18, 18 * 50)


def test_our_server_gets_the_same_load_by_http(folder: Path) -> None:
    port = free_port()
    with served(folder, "--model", model_file(folder, SMALL), "--http-port", str(port)) as server:
        by_http = replace(server, port=port, dialect="completions", alphabet=ALPHABET)
        report = Load(by_http, streams=6, requests=18, max_characters=50).report()
    assert (report["completed"], report["characters"]) == (18, 18 * 50)


def test_a_halted_server_goes_on_where_it_was(folder: Path) -> None:
    with baseline(folder, "stepped", checkpoint_file(folder, SMALL)) as server:
        server.stop()
        before = server.family_cpu_seconds
        load = Load(server, streams=1, requests=1, max_characters=10)
        server.go_on()
        assert load.report()["completed"] == 1
        assert server.family_cpu_seconds > before
