"""Moving averages against the same sums in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from training.averages import LossAverages, WeightAverages

CPU = torch.device("cpu")


@pytest.mark.parametrize("decay", [0.9999, 0.5])
def test_weights_with_the_decay_of_each_update(decay: float) -> None:
    network = nn.Linear(3, 2)
    averages = WeightAverages(network, decay, CPU)
    expected = network.weight.detach().double()
    for update in range(1, 41):
        with torch.no_grad():
            network.weight += 1
        averages.set_decay(update)
        averages.update()
        now = min(decay, (1 + update) / (10 + update))
        expected = now * expected + (1 - now) * network.weight.detach().double()
        torch.testing.assert_close(averages.network.weight.double(), expected, rtol=1e-6, atol=1e-6)
    assert not averages.network.weight.requires_grad


def test_losses_are_corrected_for_their_start_at_zero() -> None:
    series = np.random.default_rng(0).uniform(1, 5, (30, 2))
    averages = LossAverages(2, CPU)
    total = np.zeros(2)
    for update, values in enumerate(series, start=1):
        averages.update(torch.tensor(values, dtype=torch.float32))
        total = 0.9 * total + 0.1 * values
        found = averages.corrected(averages.state().tolist(), update)
        np.testing.assert_allclose(found, total / (1 - 0.9**update), rtol=1e-5)
        if update == 1:
            np.testing.assert_allclose(found, values, rtol=1e-6)


def test_loss_averages_go_on_from_their_state() -> None:
    def update(averages: LossAverages, values: range) -> torch.Tensor:
        for value in values:
            averages.update(torch.tensor([float(value)]))
        return averages.state()

    straight, first, second = (LossAverages(1, CPU) for _ in range(3))
    second.load_state(update(first, range(5)))
    assert torch.equal(update(second, range(5, 9)), update(straight, range(9)))
