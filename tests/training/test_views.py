"""Views of a picture, and how much each weighs."""

import pytest
import torch
from torch import Tensor

from training.views import VIEWS, averaged_logits


def corner(images: Tensor) -> Tensor:
    """A network that sees the upper left pixel alone."""
    return images[:, :, 0, 0]


PICTURE = torch.arange(3 * 32 * 32, dtype=torch.float32).view(1, 3, 32, 32)


@pytest.mark.parametrize(
    ("views", "seen"),
    [
        ("one", [((0, 0), 1.0)]),
        ("mirrored", [((0, 0), 0.5), ((0, 31), 0.5)]),
        # Down and right by one pixel, the mirror of the edge moves in; up and left, the second row and column do.
        (
            "mirrored and moved",
            [((0, 0), 0.25), ((0, 31), 0.25), ((1, 1), 0.125), ((1, 30), 0.125), ((1, 1), 0.125), ((1, 30), 0.125)],
        ),
    ],
)
def test_which_pixels_are_seen_and_how_much_they_weigh(views: str, seen: list[tuple[tuple[int, int], float]]) -> None:
    expected = sum(weight * PICTURE[:, :, row, column] for (row, column), weight in seen)
    assert len(seen) == VIEWS[views]
    torch.testing.assert_close(averaged_logits(corner, PICTURE, views), expected)


@pytest.mark.parametrize("views", VIEWS)
def test_pictures_do_not_mix(views: str) -> None:
    images = torch.rand(5, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    apart = torch.cat([averaged_logits(corner, images[number : number + 1], views) for number in range(5)])
    torch.testing.assert_close(averaged_logits(corner, images, views), apart)
