"""Choose the timesteps that a curve is drawn through."""

import torch
from torch import Tensor

POINTS = 200  # of a curve: as many as can be told apart on the page


def evenly(count: int, points: int = POINTS) -> Tensor:
    """Return at most `points` of the code indices 0..count-1, evenly spaced, both ends included: int64."""
    return torch.linspace(0, count - 1, min(count, points), dtype=torch.float64).round().long()


def evenly_on_log(count: int, points: int = POINTS) -> Tensor:
    """Return the same, evenly spaced on a logarithmic axis of the paper's t = index + 1."""
    if count <= points:
        return torch.arange(count)
    log = torch.linspace(0, torch.tensor(count).log().item(), points, dtype=torch.float64)
    return torch.unique(log.exp().round().long().clamp(1, count)) - 1
