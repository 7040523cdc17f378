"""Model paths: a value that exists as a file is that file, and a name holds no path separator."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nextchar_server.settings.model_paths import check_name, name_and_path, split_at_commas

Touch = Callable[..., None]


@pytest.fixture
def touch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Touch:
    """Makes files in the working folder."""
    monkeypatch.chdir(tmp_path)

    def make(*names: str) -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


@pytest.mark.parametrize(
    ("value", "name", "path"),
    [
        ("m.onnx", "m", "m.onnx"),
        ("verse=m.onnx", "verse", "m.onnx"),
        ("verse=runs/lr=0.006/m.onnx", "verse", "runs/lr=0.006/m.onnx"),
        ("runs/lr=0.006/m.onnx", "m", "runs/lr=0.006/m.onnx"),
        ("./a=b.onnx", "a=b", "./a=b.onnx"),
        ("/models/a=b.onnx", "a=b", "/models/a=b.onnx"),
        ("name=a=b.onnx", "name", "a=b.onnx"),
        ("my verse='q'.onnx", "my verse", "'q'.onnx"),
    ],
)
def test_a_value_is_taken_apart_at_an_equals_sign_only_after_a_name(
    value: str, name: str, path: str, touch: Touch
) -> None:
    assert name_and_path(value) == (name, Path(path))


@pytest.mark.parametrize("value", ["lr=0.006.onnx", "lr=0.006/m.onnx", "=m.onnx", "a=b=c"])
def test_a_value_that_exists_is_a_path(value: str, touch: Touch) -> None:
    touch(value)
    assert name_and_path(value) == (Path(value).stem, Path(value))


def test_a_value_that_can_be_read_in_two_ways_is_refused_with_both_ways_to_write_it(touch: Touch) -> None:
    touch("a=b.onnx", "b.onnx")
    with pytest.raises(ValueError, match="both exist") as caught:
        name_and_path("a=b.onnx")
    assert "write './a=b.onnx' for the first, or 'a=./b.onnx' for the second" in str(caught.value)
    assert name_and_path("./a=b.onnx") == ("a=b", Path("a=b.onnx"))
    assert name_and_path("a=./b.onnx") == ("a", Path("b.onnx"))


def test_a_value_longer_than_any_path_is_taken_apart(touch: Touch) -> None:
    assert name_and_path(f"name={'x' * 10_000}") == ("name", Path("x" * 10_000))


@pytest.mark.parametrize(
    ("value", "models"),
    [
        ("a.onnx,b.onnx", ["a.onnx", "b.onnx"]),
        ("a,b.onnx", ["a,b.onnx"]),
        ("x=a,b.onnx", ["x=a,b.onnx"]),
        ("first.onnx,a,b.onnx,last.onnx", ["first.onnx", "a,b.onnx", "last.onnx"]),
        ("none,none.onnx", ["none", "none.onnx"]),
        ("a.onnx,", ["a.onnx", ""]),
        ("d,e/f,g.onnx", ["d,e/f,g.onnx"]),
    ],
)
def test_a_comma_in_the_path_of_a_file_does_not_part_two_models(value: str, models: list[str], touch: Touch) -> None:
    touch("a,b.onnx", "first.onnx", "last.onnx", "d,e/f,g.onnx")
    assert split_at_commas(value) == models


def test_a_path_with_a_comma_whose_parts_exist_too_is_refused(touch: Touch) -> None:
    touch("a,b.onnx", "a", "b.onnx")
    with pytest.raises(ValueError, match=r"'a,b\.onnx' and its parts at the commas exist; use --model"):
        split_at_commas("a,b.onnx")


@pytest.mark.parametrize("name", ["m", "my verse", "it's", '"q"', "lr=0.006", "한글", "a,b", "x" * 255, "…"])
def test_a_name_may_hold_any_character_that_can_be_seen(name: str) -> None:
    check_name(name, name)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("a\nb", "the character at offset 1 is U+000A"),
        ("\x1b[2J", "the character at offset 0 is U+001B"),
        ("a\u202eb", "the character at offset 1 is U+202E"),
        ("m\udcff", "the character at offset 1 is the byte 0xff, which is not UTF-8"),
        ("m\ud800", "the character at offset 1 is U+D800"),
        ("x" * 300, "it has 300 bytes; at most 255"),
        ("한" * 86, "it has 258 bytes; at most 255"),
    ],
)
def test_any_other_name_is_refused_with_the_reason_in_one_line(name: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="can't be the name of a model") as caught:
        check_name(name, name)
    assert complaint in str(caught.value)
    assert str(caught.value).isprintable()
