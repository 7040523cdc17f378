"""The names of the map's models, and their points."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks.map.measuring import options_of
from benchmarks.map.names import Name
from benchmarks.map.points import Points, gains, over_seeds, read_points, worth_their_time, write_points
from benchmarks.map.trainings import MODELS, TEACHERS
from tests.support.map_points import PLAIN, POINTS, TAUGHT


@pytest.mark.parametrize("text", ["lstm-128", "gru-1024-taught", "lstm-512-2", "rnn-64-taught-3"])
def test_a_name_is_read_and_written_alike(text: str) -> None:
    assert str(Name.of(text)) == text


@pytest.mark.parametrize(
    "text",
    ["lstm", "lstm-0", "lstm-128-best", "lstm-128.onnx", "mamba-128", "lstm-128-taught-", "lstm-512-1", "gru-9-02"],
)
def test_other_texts_are_no_names(text: str) -> None:
    assert Name.of(text) is None


def test_a_name_tells_cell_size_teachers_and_seed() -> None:
    assert Name.of("gru-256-taught-2") == Name("gru", 256, taught=True, seed=2)
    assert Name.of("lstm-512") == Name("lstm", 512, taught=False, seed=1)


def test_teachers_are_trained_before_their_students() -> None:
    first_student = min(MODELS.index(name) for name in MODELS if name.taught)
    assert all(MODELS.index(teacher) < first_student for teacher in TEACHERS)


def test_options_are_those_that_the_name_does_not_tell() -> None:
    command = (
        "nextchar-train fit tinyshakespeare --out '/a b/gru-256-taught' --cell gru --hidden-size=256 --seed 2 "
        "--dropout=0.2 --teacher=/a/lstm-1024/last.pt --teacher /a/gru-1024 --epochs 10 --threads 1 --overwrite"
    )
    assert options_of(command) == "--dropout 0.2 --teacher lstm-1024 --teacher gru-1024 --epochs 10"


def test_points_are_kept_in_a_file(tmp_path: Path) -> None:
    points = Points(corpus="tinyshakespeare", processor="a processor", points=tuple(POINTS))
    write_points(points, tmp_path / "map.json")
    assert read_points(tmp_path / "map.json") == points


def test_a_point_without_its_loss_is_refused(tmp_path: Path) -> None:
    write_points(Points(corpus="a", processor="b", points=(PLAIN,)), tmp_path / "map.json")
    content = json.loads((tmp_path / "map.json").read_text())
    del content["points"][0]["stateful"]
    (tmp_path / "map.json").write_text(json.dumps(content))
    with pytest.raises(ValidationError, match="stateful"):
        read_points(tmp_path / "map.json")


def test_a_model_of_several_seeds_has_their_mean_loss() -> None:
    (model,) = over_seeds([PLAIN, replace(PLAIN, seed=2, stateful=1.52, windows=1.54)])
    assert (model.stateful, model.windows) == pytest.approx((1.51, 1.53))


def test_plain_and_taught_models_are_apart_and_narrow_ones_first() -> None:
    wide = replace(PLAIN, hidden_size=256)
    assert over_seeds([wide, TAUGHT, PLAIN]) == [PLAIN, TAUGHT, wide]


def test_a_model_is_worth_its_time_if_no_faster_one_predicts_as_well() -> None:
    wide = replace(PLAIN, hidden_size=256, stateful=1.4, microseconds={1: 30.0, 64: 1.0})
    slow = replace(PLAIN, hidden_size=512, stateful=1.45, microseconds={1: 40.0, 64: 4.0})
    assert worth_their_time([slow, wide, PLAIN, TAUGHT], 1) == [TAUGHT, wide]
    assert worth_their_time([slow, wide, PLAIN, TAUGHT], 64) == [wide]


def test_teachers_gain_is_that_of_the_models_that_are_there_with_and_without_them() -> None:
    assert gains([PLAIN, TAUGHT, replace(TAUGHT, cell="gru")]) == pytest.approx([0.04])
