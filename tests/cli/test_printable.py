"""Text from outside, as people see it."""

from __future__ import annotations

import os
import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_cli.printable import one_line, printable, shell_path, shell_word

ANY = st.text(st.characters(codec=None, exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain.txt", "plain.txt"),
        ("한글 é 😀", "한글 é 😀"),
        ("wide\u3000or\xa0fixed", "wide\u3000or\xa0fixed"),
        ("new\nline\ttab", "new\\nline\\ttab"),
        ("\x1b[31mred\x07\x7f", "\\x1b[31mred\\x07\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_characters_that_cannot_be_seen_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(text=ANY)
def test_any_text_becomes_one_line_of_utf8_without_control_characters(text: str) -> None:
    for shown in (printable(text), one_line(text)):
        shown.encode()
        assert len(shown.splitlines()) <= 1
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in shown)


def test_a_message_has_single_spaces() -> None:
    assert one_line(" a\n\n  b\x1b ") == "a b\\x1b"


@pytest.mark.parametrize("name", ["a b", "it's", "new\nline $x `y` \\", "caf\udce9'\\", "한\n글"])
def test_a_word_for_the_shell_is_read_back(name: str) -> None:
    word = shell_word(name)
    assert word == printable(word)
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout == os.fsencode(name)


def test_a_path_is_never_an_option() -> None:
    assert (shell_path("-x"), shell_path("a/-x")) == ("./-x", "a/-x")
