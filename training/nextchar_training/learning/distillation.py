"""Distillation: a network learns the distributions of teachers, beside the text.

After Hinton, Vinyals & Dean 2015 (arXiv 1503.02531). At each place of a batch the loss is

    (1 - w) · H(text, s) + w · T² · H(q, s_T)

- H(a, b) = -Σ a_i ln b_i, the cross-entropy; it differs from the divergence KL(a, b) by the entropy of a, which no
  gradient sees. Of the text, a is 1 for the id that came and else 0;
- s = softmax(z) of the network's logits z, and s_T = softmax(z / T) at temperature T;
- q is the mean of the teachers' distributions at the same temperature, each p^(1/T) scaled to a sum of 1;
- w is the teachers' weight. Gradients through s_T and q are about 1/T² as large as at temperature 1, so T² keeps w's
  meaning.

The teachers' distributions are read from files, at the places of the batch's targets. A teacher has read the document
up to there, as far as it kept its context (see ``teaching``).

Shapes: T characters, B sequences, V ids in the alphabet, N ids that have a code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..data.distributions import CODES_PER_NAT, DistributionFile
from .recipe import Teaching


class Distillation:
    """The teachers of a training."""

    def __init__(self, teachers: Sequence[DistributionFile], teaching: Teaching) -> None:
        """Learns from the mean of ``teachers``, at least one, which are over the training text."""
        self._teachers = teachers
        self._weight, self._temperature = teaching.teacher_weight, teaching.teacher_temperature

    def mixed(self, loss: Tensor, logits: Tensor, places: Tensor) -> Tensor:
        """Returns the loss to learn from, in nats per id.

        ``loss`` is the text's, ``logits`` are float (T, B, V), and ``places`` (B,) those of the first targets.
        """
        T, temperature = len(logits), self._temperature
        expected = self.expected(places, T).to(logits.device)
        taught = functional.cross_entropy((logits / temperature).flatten(0, 1), expected.flatten(0, 1))
        return (1.0 - self._weight) * loss + self._weight * temperature**2 * taught

    def expected(self, places: Tensor, length: int) -> Tensor:
        """Returns the teachers' mean distribution q at ``length`` places from each of ``places`` on, (T, B, V)."""
        distributions = [self._distribution(teacher, places.tolist(), length) for teacher in self._teachers]
        total = distributions[0]
        for one in distributions[1:]:
            total += one
        return total / len(distributions)

    def _distribution(self, teacher: DistributionFile, places: list[int], length: int) -> Tensor:
        """Returns the distribution of one teacher at the temperature, (T, B, V)."""
        codes, rest, ids = teacher.read(places, length)
        logs = torch.from_numpy(codes) * (-1.0 / (CODES_PER_NAT * self._temperature))  # (T, B, N)
        if rest is None or ids is None:
            return logs.softmax(-1)
        V = teacher.form.alphabet_size
        others = V - codes.shape[-1]
        # Each of the others has an even share of the rest, to which the temperature applies.
        share = torch.from_numpy(rest) * (-1.0 / CODES_PER_NAT) - math.log(others)
        together = (share / self._temperature + math.log(others))[..., None]
        masses = torch.cat([logs, together], -1).softmax(-1)
        spread: Tensor = (masses[..., -1:] / others).expand(*ids.shape[:2], V)
        return spread.scatter(-1, torch.from_numpy(ids), masses[..., :-1])
