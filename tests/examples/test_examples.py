"""The examples as a newcomer runs them: against a real server with the packaged model."""

import ast
import asyncio
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

from nextchar_model.runner import Runner
from nextchar_server.settings.config import PACKAGED_MODEL
from tests.support.serving import serving
from tests.support.trainings import abridged

EXAMPLES = Path(__file__).parents[2] / "examples"


async def run(example: str, *arguments: str, standard_input: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of an example against a server of its own."""
    async with serving(PACKAGED_MODEL) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(EXAMPLES / example), *arguments, "--endpoint", f"127.0.0.1:{server.grpc_port}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            output, errors = await process.communicate(standard_input.encode())
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


def documented(example: str) -> tuple[list[str], str]:
    """The arguments and the output that the docstring of an example shows."""
    docstring = ast.get_docstring(ast.parse((EXAMPLES / example).read_text(encoding="utf-8")))
    assert docstring is not None
    command, _, output = docstring.partition("    $ python examples/")[2].partition("\n")
    return shlex.split(command)[1:], dedent(output).rstrip() + "\n"


@pytest.mark.parametrize("example", ["stream.py", "score_names.py", "line_position.py"])
async def test_an_example_prints_the_output_that_its_docstring_shows(example: str) -> None:
    if not Runner(PACKAGED_MODEL).replay().exact:
        pytest.skip("this machine isn't bit-exact with the one that exported the packaged model")
    arguments, output = documented(example)
    assert await run(example, *arguments) == (0, output, "")


async def test_names_are_read_from_standard_input_and_the_oddest_comes_first() -> None:
    code, output, errors = await run("score_names.py", standard_input="Romeo\n\nXqzvkb\nJuliet\n")
    assert (code, errors) == (0, "")
    assert [line.split()[-1] for line in output.splitlines()] == ["name", "Xqzvkb", "Romeo", "Juliet"]


async def test_a_name_that_the_model_cannot_spell_is_the_oddest() -> None:
    code, output, errors = await run("score_names.py", "Xqzvkb", "김")
    assert (code, errors) == (0, "")
    assert output.splitlines()[1].split() == ["inf", "김"]


@pytest.mark.parametrize(
    ("example", "arguments"),
    [("stream.py", ["--max-characters", "4000000000"]), ("score_names.py", ["x", "--model", "none"])],
)
async def test_a_failed_call_is_one_line(example: str, arguments: list[str]) -> None:
    code, output, errors = await run(example, *arguments)
    assert (code, output, errors.count("\n")) == (1, "", 1)


async def test_words_are_completed_key_by_key_as_the_docstring_shows() -> None:
    if not Runner(PACKAGED_MODEL).replay().exact:
        pytest.skip("this machine isn't bit-exact with the one that exported the packaged model")
    arguments, output = documented("autocomplete.py")
    code, found, errors = await run("autocomplete.py", *arguments)
    *completions, slowest = found.splitlines(keepends=True)
    assert (code, "".join(completions), errors) == (0, output, "")
    assert re.fullmatch(r"slowest: [0-9.]+ ms\n", slowest)


class Trained:
    """The examples that train a model, run in this process, which has imported torch already."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.syspath_prepend(EXAMPLES)

    def lines(self, example: str, *arguments: str) -> list[str]:
        """Runs an example and returns the lines that it prints."""
        self._monkeypatch.setattr(sys, "argv", [example, *arguments])
        runpy.run_path(str(EXAMPLES / example), run_name="__main__")
        return self._capsys.readouterr().out.splitlines()

    def names(self, example: str) -> dict[str, Any]:
        """Returns the functions and constants of an example."""
        return runpy.run_path(str(EXAMPLES / example))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Trained]:
    threads = torch.get_num_threads()
    with abridged(evaluations=3):
        yield Trained(monkeypatch, capsys)
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_invented_names_match_the_pattern_and_are_in_no_list(trained: Trained) -> None:
    pattern = "B[a-z]{3,7}(ton|ford|ley)"
    names = trained.lines("invented_names.py", "--pattern", pattern, "--count", "5", "--epochs", "1")
    assert len(set(names)) == 5
    assert all(re.fullmatch(pattern, name) for name in names)
    assert not set(names).intersection(trained.names("invented_names.py")["made_up"]())


@pytest.mark.slow
def test_korean_addresses_match_their_pattern(trained: Trained) -> None:
    addresses = trained.lines("korean_addresses.py", "--count", "5", "--epochs", "1")
    assert len(addresses) == 5
    assert all(re.fullmatch(trained.names("korean_addresses.py")["PATTERN"], address) for address in addresses)


@pytest.mark.slow
def test_odd_lines_of_a_log_score_above_normal_ones(trained: Trained) -> None:
    *_, last = trained.lines("log_anomalies.py", "--epochs", "3")
    assert float(last.removeprefix("ROC AUC ")) > 0.9


@pytest.mark.slow
def test_a_password_as_people_choose_them_is_weaker_than_a_random_one(trained: Trained) -> None:
    lines = trained.lines("password_meter.py", "qwerty123", "Dragon1987!", "x7#Kq9v2Lp", "--epochs", "2")
    bits = [float(line.split()[0]) for line in lines]
    assert bits == sorted(bits)
