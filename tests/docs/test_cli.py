"""docs/cli.md shows the options as the commands have them now."""

from __future__ import annotations

from docs.generate_cli import PAGE, generated


def test_the_page_of_options_is_current() -> None:
    assert PAGE.read_text() == generated(), "python -m docs.generate_cli writes it anew"


def test_the_page_of_options_names_no_path_of_this_machine() -> None:
    assert "/root" not in generated()
    assert "/work" not in generated()


def test_every_default_is_shown_in_brackets() -> None:
    assert "[default: " in generated()
    assert "Default: " not in generated()
