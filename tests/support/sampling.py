"""How much of a sweep one run takes."""

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
# `make soak` sweeps whole, round by round, where `make test` takes samples.
SOAK_ROUND = int(os.environ.get("SOAK_ROUND", "-1"))
IS_SOAK = SOAK_ROUND >= 0
# So many rounds of it meet every point of the long sweeps, each round its own part of them.
SOAK_ROUNDS = 8


def sampled(points: Sequence[T], every: int) -> Sequence[T]:
    """Points of a sweep: in `make test` the last one and every n-th, in `make soak` its round's."""
    if IS_SOAK:
        return points[SOAK_ROUND % SOAK_ROUNDS :: SOAK_ROUNDS]
    if not points:
        return points
    return [*points[:-1:every], points[-1]]
