"""The command and the library in environments of other people: proxies, encodings, readers that leave."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.command import COMMAND, Run
from tests.support.scripted_server import ScriptedServer

PROXY = "http://127.0.0.1:9"  # nothing listens there


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "ipv4:127.0.0.1:{}", "dns:///localhost:{}"])
def test_a_proxy_does_not_hide_a_server_of_this_machine(
    server: ScriptedServer, run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, form: str
) -> None:
    monkeypatch.setenv(variable, PROXY)
    monkeypatch.setenv("NEXTCHAR_ENDPOINT", form.format(server.endpoint.partition(":")[2]))
    assert run("generate") == (0, "한글\nwords", "")
    assert run("health")[0] == 0


def test_another_endpoint_uses_the_proxy_as_grpc_does(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.delenv("no_proxy", raising=False)
    assert "127.0.0.1:9" in run("models", "--endpoint", "nextchar.invalid:1")[2]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-16"])
def test_the_text_is_utf_8_whatever_the_encoding_of_the_streams(server: ScriptedServer, encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    ended = subprocess.run([*COMMAND, "generate"], capture_output=True, env=environment, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "한글\nwords".encode())


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"], ["generate"], ["models", "--json"]])
def test_a_reader_that_leaves_ends_the_command_without_a_word(server: ScriptedServer, arguments: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    ended = subprocess.run([*COMMAND, *arguments], stdout=theirs, stderr=subprocess.PIPE, timeout=120)
    os.close(theirs)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_file_name_that_is_not_utf_8_is_a_file_name(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    Path(os.fsdecode(name)).write_text("prompt")
    assert run("generate", "--file", os.fsdecode(name))[0] == 0
    assert server.requests[0].prompt == "prompt"
    code, _, errors = run("generate", "--file", os.fsdecode(name) + "\x1b")
    assert (code, errors.count(r"caf\xe9.txt\x1b: No such file"), errors.count("\x1b")) == (2, 1, 0)
