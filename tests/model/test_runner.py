"""The runner: one operation on a real model file, bit for bit the same however it is called."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nextchar_model.batch import SAMPLE, Batch, SamplingSettings, Steps
from nextchar_model.cell import Cell
from nextchar_model.draws import uniform
from nextchar_model.providers import ProviderError
from nextchar_model.runner import Runner
from nextchar_model.slices import MAX_ROWS
from tests.support.tiny_model import TinyModel

COUNT = 60

COMPATIBILITY = Path(__file__).parents[1] / "compatibility" / "model.onnx"

NO_CUDA = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime is built with CUDA"
)

MODELS = [(cell, precision) for cell in ("lstm", "gru", "rnn") for precision in ("int8", "fp32")]


@pytest.fixture(params=MODELS, ids=" ".join)
def runner(tiny_of: Callable[[Cell], TinyModel], request: pytest.FixtureRequest) -> Runner:
    cell, precision = request.param
    return Runner(getattr(tiny_of(cell), precision))


def sample(runner: Runner, batch: Batch, steps: int, first: int, seeds: Sequence[int]) -> Steps:
    """Samples the next ``steps`` ids of rows with ``seeds``, which have sampled ``first`` ids before."""
    draws = np.stack([uniform(seed, first, steps) for seed in seeds], axis=1)
    return runner.advance(batch, np.full((steps, len(batch)), SAMPLE), draws)


def bits(steps: Sequence[Steps], row: int) -> tuple[bytes, bytes]:
    """Returns the bytes of the ids and of the log-probabilities of ``row``."""
    return (
        np.concatenate([one.ids[:, row] for one in steps]).tobytes(),
        np.concatenate([one.logprob[:, row] for one in steps]).tobytes(),
    )


def alone(runner: Runner, seed: int, settings: SamplingSettings | None = None) -> tuple[bytes, bytes]:
    """Returns the bits of a row with ``seed`` that is sampled alone, in one call."""
    return bits([sample(runner, runner.start([settings or SamplingSettings()]), COUNT, 0, [seed])], 0)


def state_bits(batch: Batch) -> dict[str, bytes]:
    """Returns the bytes of each array of ``batch``."""
    return {name: array.tobytes() for name, array in vars(batch).items()}


def test_a_row_starts_at_the_boundary_with_a_state_of_zero(runner: Runner) -> None:
    batch = runner.start([SamplingSettings(), SamplingSettings()])
    assert batch.last_id.tolist() == [0, 0]
    assert (batch.cell == 0).all()
    assert batch.cell.shape == (runner.description.cell_layers, 2, runner.description.hidden_size)
    zero = 128 if runner.description.precision == "int8" else 0
    assert (batch.hidden == zero).all()
    size = batch.cell.nbytes + batch.hidden.nbytes
    assert size == 2 * runner.description.state_bytes


@pytest.mark.parametrize("reads", [1, 5, 19])
def test_ids_that_are_only_read_leave_the_same_bits_as_forced_ones(runner: Runner, reads: int) -> None:
    ids = np.random.default_rng(0).integers(1, runner.description.alphabet.size, (20, 3))
    forced = np.concatenate([ids, np.full((10, 3), SAMPLE)])
    draws = np.concatenate([np.zeros((20, 3), np.float32), np.stack([uniform(seed, 0, 10) for seed in range(3)], 1)])
    forcing, reading = (
        runner.start([SamplingSettings(), SamplingSettings(top_k=3), SamplingSettings(temperature=0.0)])
        for _ in range(2)
    )
    whole = runner.advance(forcing, forced, draws)
    rest = runner.advance(reading, forced[reads:], draws[reads:], read=forced[:reads])
    assert rest.ids.tobytes() == whole.ids[reads:].tobytes()
    assert rest.logprob.tobytes() == whole.logprob[reads:].tobytes()
    assert state_bits(reading) == state_bits(forcing)


def test_a_batch_that_is_run_in_slices_has_the_bits_of_its_rows(runner: Runner) -> None:
    count = 2 * MAX_ROWS + 3  # slices of unequal size
    settings = [SamplingSettings(temperature=0.5 + row / count) for row in range(count)]
    read = np.arange(2 * count).reshape(2, count) % runner.description.alphabet.size
    draws = np.stack([uniform(row, 0, 11) for row in range(count)], axis=1)

    def advance(rows: list[int]) -> tuple[Batch, Steps]:
        batch = runner.start([settings[row] for row in rows])
        return batch, runner.advance(batch, np.full((11, len(rows)), SAMPLE), draws[:, rows], read=read[:, rows])

    whole, steps = advance(list(range(count)))
    for row in (0, MAX_ROWS - 1, MAX_ROWS, count - 1):
        alone, steps_alone = advance([row])
        assert bits([steps], row) == bits([steps_alone], 0)
        assert state_bits(whole.take([row])) == state_bits(alone)


def test_a_row_keeps_its_bits_when_rows_join_and_leave_its_batch(runner: Runner) -> None:
    batch = runner.start([SamplingSettings()])
    parts = [sample(runner, batch, 7, 0, [1])]
    batch = Batch.join([batch, runner.start([SamplingSettings(top_k=3), SamplingSettings(temperature=0.0)])])
    parts.append(sample(runner, batch, 20, 7, [1, 2, 3]))
    batch = batch.take([2, 0])
    second = sample(runner, batch, COUNT - 27, 27, [3, 1])
    batch_of_first = [*parts, Steps(*(array[:, [1, 0]] for array in vars(second).values()))]
    assert bits(batch_of_first, 0) == alone(runner, 1)


def test_a_row_that_leaves_and_returns_continues_where_it_was(runner: Runner) -> None:
    both = runner.start([SamplingSettings(), SamplingSettings(top_p=0.8)])
    first = sample(runner, both, 20, 0, [1, 2])
    kept = both.take([1])
    rest = both.take([0])
    sample(runner, rest, 20, 20, [1])
    again = Batch.join([rest, kept])
    draws = np.stack([uniform(1, 40, 40), uniform(2, 20, 40)], axis=1)
    second = runner.advance(again, np.full((40, 2), SAMPLE), draws)
    assert bits([first, second], 1) == alone(runner, 2, SamplingSettings(top_p=0.8))


@pytest.mark.parametrize(("cell", "precision"), MODELS)
def test_two_threads_per_step_compute_the_bits_of_one(
    tiny_of: Callable[[Cell], TinyModel], cell: Cell, precision: str
) -> None:
    one, two = (Runner(getattr(tiny_of(cell), precision), threads=threads) for threads in (1, 2))
    batches = [runner.start([SamplingSettings()] * 33) for runner in (one, two)]
    seeds = list(range(33))
    first, second = (sample(runner, batch, COUNT, 0, seeds) for runner, batch in zip((one, two), batches, strict=True))
    assert first.ids.tobytes() == second.ids.tobytes()
    assert first.logprob.tobytes() == second.logprob.tobytes()
    assert batches[0].hidden.tobytes() == batches[1].hidden.tobytes()
    assert batches[0].cell.tobytes() == batches[1].cell.tobytes()


def test_callers_on_several_threads_do_not_disturb_each_other(runner: Runner) -> None:
    seeds = range(16)
    expected = [alone(runner, seed) for seed in seeds]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda seed: alone(runner, seed), seeds)) == expected


def test_reading_a_sampled_text_repeats_its_log_probabilities(runner: Runner) -> None:
    sampled = sample(runner, runner.start([SamplingSettings()]), COUNT, 0, [5])
    read = runner.advance(runner.start([SamplingSettings()]), sampled.ids, np.zeros((COUNT, 1), np.float32))
    assert read.logprob.tobytes() == sampled.logprob.tobytes()


def test_reading_ignores_the_random_numbers(runner: Runner, tiny: TinyModel) -> None:
    ids = tiny.alphabet.encode(tiny.text[:COUNT])[:, None]
    zeros = runner.advance(runner.start([SamplingSettings()]), ids, np.zeros((COUNT, 1), np.float32))
    numbers = runner.advance(runner.start([SamplingSettings()]), ids, uniform(1, 0, COUNT)[:, None])
    assert zeros.ids.tolist() == numbers.ids.tolist() == ids.tolist()
    assert zeros.logprob.tobytes() == numbers.logprob.tobytes()


def test_scoring_in_pieces_has_the_bits_of_scoring_at_once(runner: Runner, tiny: TinyModel) -> None:
    ids = tiny.alphabet.encode(tiny.text[:COUNT])[:, None]
    boundary = np.zeros(1, np.int64)
    whole, _ = runner.score(boundary, ids, runner.initial_state(1))
    first, state = runner.score(boundary, ids[:25], runner.initial_state(1))
    second, _ = runner.score(ids[24], ids[25:], state)
    assert np.concatenate([first, second]).tobytes() == whole.tobytes()


def test_generate_depends_on_the_seed_alone(runner: Runner) -> None:
    first, again, other = (runner.generate("Romeo", seed, COUNT).ids.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_asking_for_too_many_alternatives_returns_every_id(runner: Runner) -> None:
    V = runner.description.alphabet.size
    batch = runner.start([SamplingSettings()])
    steps = runner.advance(batch, np.full((1, 1), SAMPLE), np.zeros((1, 1), np.float32), alternatives=V + 20)
    assert sorted(steps.top_ids[0, 0].tolist()) == list(range(V))


@pytest.mark.parametrize("alternatives", [0, 1, 5])
def test_the_number_of_alternatives_does_not_change_the_bits(runner: Runner, alternatives: int) -> None:
    batch = runner.start([SamplingSettings()])
    draws = uniform(9, 0, COUNT)[:, None]
    steps = runner.advance(batch, np.full((COUNT, 1), SAMPLE), draws, alternatives=alternatives)
    assert bits([steps], 0) == alone(runner, 9)
    assert steps.top_ids.shape == steps.top_logprobs.shape == (COUNT, 1, alternatives)


def test_the_digest_is_the_files_sha_256(tiny: TinyModel) -> None:
    assert Runner(tiny.int8).digest == hashlib.sha256(tiny.int8.read_bytes()).hexdigest()


def test_the_exporting_machine_repeats_the_replay_sample_exactly(runner: Runner) -> None:
    assert runner.replay().exact


def test_a_model_file_of_the_release_before_still_replays() -> None:
    runner = Runner(COMPATIBILITY)
    assert (runner.description.cell, runner.description.precision) == ("lstm", "int8")
    runner.replay()  # raises if this machine is off


def test_the_numeric_class_does_not_depend_on_the_threads(tiny: TinyModel) -> None:
    classes = {Runner(tiny.int8, threads=threads).replay().numeric_class for threads in (1, 2)}
    assert len(classes) == 1


def test_the_numeric_class_names_precision_and_provider(tiny: TinyModel) -> None:
    assert Runner(tiny.int8).replay().numeric_class.startswith("int8-cpu-")
    assert Runner(tiny.fp32).replay().numeric_class.startswith("fp32-cpu-")


def test_a_runner_uses_the_cpu_by_default(tiny: TinyModel) -> None:
    runner = Runner(tiny.fp32)
    assert (runner.provider, runner.provider_reason) == ("cpu", "asked for")


@NO_CUDA
def test_cuda_without_a_cuda_build_is_an_error_with_the_remedy(tiny: TinyModel) -> None:
    with pytest.raises(
        ProviderError, match=r"has no CUDA provider; .* install the extra nextchar\[server-cuda\]"
    ) as caught:
        Runner(tiny.fp32, provider="cuda")
    assert str(caught.value).startswith(f"{tiny.fp32}: ")


def test_cuda_with_an_int8_model_is_an_error_that_says_to_export_fp32(tiny: TinyModel) -> None:
    with pytest.raises(ProviderError, match=r"int8 model runs on the CPU only; .* export it with --precision fp32"):
        Runner(tiny.int8, provider="cuda")


@NO_CUDA
def test_auto_without_a_cuda_build_is_the_cpu_and_says_why(tiny: TinyModel) -> None:
    runner = Runner(tiny.fp32, provider="auto")
    assert runner.provider == "cpu"
    assert "has no CUDA provider" in runner.provider_reason


def test_auto_with_an_int8_model_is_the_cpu_and_says_why(tiny: TinyModel) -> None:
    runner = Runner(tiny.int8, provider="auto")
    assert runner.provider == "cpu"
    assert "int8 model runs on the CPU only" in runner.provider_reason


def test_onnxruntime_is_told_to_send_no_telemetry() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
