"""Model files that are to be served: names, shares, and what is wrong with them."""

from pathlib import Path
from typing import Any, cast

import pytest

from nextchar_server.catalog import Family
from nextchar_server.settings.model_paths import name_and_share
from nextchar_server.versions.sources import ModelSources


def found(folder: Path, *names: str, models: dict[str, Path] | None = None) -> dict[str, str | float | None]:
    """Returns the share of each file in a folder with ``names``, or the reason why it can't be served."""
    for name in names:
        (folder / name).touch()
    sources = ModelSources(models or {}, folder).find()
    return {source.key: source.refused.reason if source.refused else source.share for source in sources}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("verse", ("verse", None)),
        ("verse@10%", ("verse", 0.1)),
        ("verse@0.5%", ("verse", 0.005)),
        ("verse@99%-label", ("verse", 0.99)),
    ],
)
def test_a_name_may_have_a_share(name: str, expected: tuple[str, float | None]) -> None:
    assert name_and_share(name) == pytest.approx(expected)


@pytest.mark.parametrize(
    "name", ["verse@", "verse@10", "verse@0%", "verse@100%", "@10%", "verse@10%b", "a@b", "a@1%@2%"]
)
def test_after_an_at_sign_nothing_but_a_share_may_follow(name: str) -> None:
    with pytest.raises(ValueError, match="after an @ follows the share of a version"):
        name_and_share(name)


def test_every_model_file_of_a_folder_is_found_by_name(tmp_path: Path) -> None:
    names = ("b.onnx", "a.onnx", "a@25%.onnx", ".c.onnx", "d.onnx.part", "e.txt")
    assert found(tmp_path, *names) == {"a": None, "a@25%": 0.25, "b": None}


def test_a_file_whose_name_is_no_models_is_refused(tmp_path: Path) -> None:
    assert found(tmp_path, "a.onnx", "a@b.onnx") == {"a": None, "a@b": "name"}


def test_a_name_that_the_option_has_is_refused_in_the_folder(tmp_path: Path) -> None:
    sources = ModelSources({"a": Path("elsewhere.onnx")}, tmp_path)
    (tmp_path / "a.onnx").touch()
    assert [(source.is_named, source.refused is None) for source in sources.find()] == [(True, True), (False, False)]


def test_a_share_of_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert found(tmp_path, "a@10%.onnx", "b.onnx") == {"a@10%": "share", "b": None}


def test_shares_beyond_all_requests_are_refused_in_the_order_of_the_names(tmp_path: Path) -> None:
    names = ("a.onnx", "a@60%.onnx", "a@50%.onnx", "a@40%.onnx")
    assert found(tmp_path, *names) == {"a": None, "a@40%": 0.4, "a@50%": 0.5, "a@60%": "share"}


def test_a_request_is_served_by_the_version_in_whose_share_its_id_lies() -> None:
    main, first, second = (cast("Any", name) for name in ("main", "first", "second"))
    family = Family(main, ((0.25, first), (0.5, second)))
    chosen: list[Any] = [family.chosen(f"{number:02x}" + "0" * 14) for number in range(256)]
    assert chosen == ["first"] * 64 + ["second"] * 128 + ["main"] * 64
