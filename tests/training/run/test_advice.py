import pytest

from nextchar_training.learning.recipe import suggested_hidden_size
from nextchar_training.run.advice import about_best, about_size
from tests.training.run.test_ledger import row


def test_small_corpus_with_the_usual_size_gets_a_suggestion() -> None:
    suggested = suggested_hidden_size(12_000)
    advice = about_size(12_000, 512)
    assert advice is not None
    assert f"--hidden-size {suggested}" in advice


@pytest.mark.parametrize("size", [64, suggested_hidden_size(12_000)])
def test_network_of_the_suggested_size_or_smaller_gets_no_advice(size: int) -> None:
    assert about_size(12_000, size) is None


def test_best_epoch_is_named() -> None:
    advice = about_best([row(100, 1.5), row(200, 1.25)], None)
    assert advice == "best epoch: 2.0 of 2.0, validation 1.2500 nats per character"


def test_patience_is_advised_if_the_best_evaluation_was_long_before_the_end() -> None:
    rows = [row(100, 1.25), row(200, 1.5), row(300, 1.75)]
    assert "best epoch: 1.0 of 3.0" in about_best(rows, None)
    assert "--patience 3" in about_best(rows, None)
    assert "--patience" not in about_best(rows, 2)


@pytest.mark.parametrize("characters", [50_000, 1_000_000_000])
def test_large_network_on_a_corpus_that_is_not_small_gets_no_advice(characters: int) -> None:
    assert about_size(characters, 4096) is None
