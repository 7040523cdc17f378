"""The keys of resume tokens: where they come from, and which are refused."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from nextchar_server.listening import StartError
from nextchar_server.rpc.token_keys import load_keys, log_keys

FIRST, SECOND = "a" * 32, "é" * 16


def test_a_file_has_a_key_on_each_line(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{FIRST}\n\n  {SECOND}\n", encoding="utf-8")
    assert load_keys(tmp_path / "keys", {"NEXTCHAR_TOKEN_KEY": "b" * 32}) == (FIRST.encode(), SECOND.encode())


def test_the_variable_has_keys_without_a_file() -> None:
    assert load_keys(None, {"NEXTCHAR_TOKEN_KEY": f"{FIRST} {SECOND}"}) == (FIRST.encode(), SECOND.encode())


@pytest.mark.parametrize("environment", [{}, {"NEXTCHAR_TOKEN_KEY": ""}])
def test_without_keys_a_random_one_signs_and_the_log_warns_once(environment: dict[str, str]) -> None:
    (key,) = load_keys(None, environment)
    with capture_logs() as lines:
        log_keys((key,), None, environment)
    assert len(key) == 32
    assert (key,) != load_keys(None, environment)
    assert [(line["log_level"], line["event"]) for line in lines] == [("warning", "random_token_key")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no key; write one of at least 32 random bytes per line"),
        (f"{FIRST}\n{'c' * 31}\n", "key 2 of 2 has 31 bytes; it needs at least 32"),
        (f"{FIRST} {'c' * 31}\n", "key 1 of 1 has a blank in it; write each key on a line of its own"),
    ],
)
def test_a_missing_or_short_key_is_refused_unshown(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(StartError, match=message) as caught:
        load_keys(tmp_path / "keys", {})
    assert str(caught.value).startswith(f"--token-key-file {tmp_path / 'keys'}: ")
    assert "c" * 31 not in str(caught.value)


def test_a_phrase_in_the_variable_is_refused_as_the_several_keys_that_it_is() -> None:
    with pytest.raises(StartError) as caught:
        load_keys(None, {"NEXTCHAR_TOKEN_KEY": "a phrase that somebody took for one key of many bytes"})
    assert str(caught.value).startswith(
        "NEXTCHAR_TOKEN_KEY: key 1 of 11 (blanks part keys) has 1 bytes; it needs at least 32"
    )


def test_the_log_tells_of_several_keys_and_shows_none() -> None:
    environment = {"NEXTCHAR_TOKEN_KEY": f"{FIRST} {SECOND}"}
    with capture_logs() as lines:
        log_keys(load_keys(None, environment), None, environment)
    ((event, count),) = [(line["event"], line["count"]) for line in lines]
    assert (event, count) == ("token_keys", 2)
    assert FIRST not in str(lines)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="nothing: can't be read: "):
        load_keys(tmp_path / "nothing", {})
