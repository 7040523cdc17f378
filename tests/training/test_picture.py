import pytest

from nextchar_training import picture


def drawn(text: str) -> bytes:
    figure = picture.new_figure(1, 1)
    figure.text(0.5, 0.5, text)
    return picture.png(figure)


def test_hangul_is_drawn_and_not_replaced_by_boxes() -> None:
    if not picture._fallbacks():
        pytest.skip("no font for Hangul is installed")
    assert drawn("한") != drawn("국")
