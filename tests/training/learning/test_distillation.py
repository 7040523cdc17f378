"""The loss of a training with teachers, compared with the formula written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nextchar_training.data.distributions import DistributionFile, DistributionWriter, Form
from nextchar_training.learning.distillation import Distillation
from nextchar_training.learning.recipe import Teaching

T, B, COUNT = 4, 3, 50
PLACES = torch.tensor([7, 0, 40])


def teacher(folder: Path, V: int, seed: int) -> tuple[DistributionFile, Tensor]:
    """A teacher's file of random distributions, and these, [COUNT, V]."""
    form = Form(V)
    # Whole sixteenths of a nat, that what is read is what was written; then it is scaled.
    codes = np.random.default_rng(seed).integers(0, 100, (COUNT, V))
    logprobs = (codes / -16).astype(np.float32)
    order = np.argsort(codes, axis=1, kind="stable")[:, : form.listed]
    path = folder / f"{V}-{seed}"
    with DistributionWriter(path, form, COUNT) as writer:
        writer.write(0, form.encode(order, np.take_along_axis(logprobs, order, axis=1)))
    return DistributionFile(path, form), torch.from_numpy(logprobs).double()


def written_out(logits: Tensor, targets: Tensor, teachers: list[Tensor], weight: float, temperature: float) -> float:
    total = 0.0
    for t in range(T):
        for b in range(B):
            z = logits[t, b].double()
            q = torch.stack([(one[PLACES[b] + t] / temperature).softmax(0) for one in teachers]).mean(0)
            text = -z.log_softmax(0)[targets[t, b]]
            taught = -(q * (z / temperature).log_softmax(0)).sum()
            total += float((1 - weight) * text + weight * temperature**2 * taught)
    return total / (T * B)


@pytest.mark.parametrize(("weight", "temperature"), [(0.8, 1.0), (1.0, 1.0), (0.3, 2.5)])
@pytest.mark.parametrize("seeds", [[1], [1, 2, 3]])
def test_the_loss_is_that_of_the_formula(tmp_path: Path, seeds: list[int], weight: float, temperature: float) -> None:
    files, logprobs = zip(*(teacher(tmp_path, 9, seed) for seed in seeds), strict=True)
    torch.manual_seed(0)
    logits, targets = torch.randn(T, B, 9, requires_grad=True), torch.randint(0, 9, (T, B))
    text = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    distillation = Distillation(files, Teaching(teacher_weight=weight, teacher_temperature=temperature))
    loss = distillation.mixed(text, logits, PLACES)
    assert loss.item() == pytest.approx(
        written_out(logits.detach(), targets, list(logprobs), weight, temperature), abs=1e-5
    )
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_rest_of_a_large_alphabet_is_evenly_spread_at_every_temperature(tmp_path: Path, temperature: float) -> None:
    V = 300
    file, logprobs = teacher(tmp_path, V, 1)
    (expected,) = Distillation([file], Teaching(teacher_temperature=temperature)).expected(torch.tensor([5]), 1)[0]
    assert expected.sum().item() == pytest.approx(1, abs=1e-5)
    kept = file.read([5], 1)
    assert kept.rest is not None
    assert kept.ids is not None
    p = torch.full((V,), float(np.exp(kept.rest[0, 0] / -16.0) / (V - 64)), dtype=torch.float64)
    listed = torch.from_numpy(kept.ids[0, 0])
    p[listed] = logprobs[5][listed].exp()
    assert torch.allclose(expected.double(), (p.log() / temperature).softmax(0), atol=1e-6)


def test_a_very_low_temperature_leaves_the_likeliest_id(tmp_path: Path) -> None:
    file, logprobs = teacher(tmp_path, 9, 1)
    expected = Distillation([file], Teaching(teacher_temperature=1e-4)).expected(torch.tensor([5]), 1)[0, 0]
    assert torch.isfinite(expected).all()
    assert expected.argmax() == logprobs[5].argmax()
