"""The level: what is in use at one moment, against both limits."""

from typing import NamedTuple


class Level(NamedTuple):
    """What is in use, against both limits; `hard_cap` None: unlimited."""

    used: int
    purchased: int
    hard_cap: int | None

    @property
    def overdraft(self) -> int:
        """How much is used above what was purchased."""
        return max(0, self.used - self.purchased)

    @property
    def is_near(self) -> bool:
        """Whether usage is within 10 % of what was purchased, or above it."""
        return self.used >= threshold_level(NEAR_PERCENT, self.purchased)

    @property
    def is_reached(self) -> bool:
        """Whether everything that was purchased is in use, or more."""
        return self.used >= threshold_level(100, self.purchased)


# Usage is near the limit from this percentage of what was purchased.
NEAR_PERCENT = 90


def threshold_level(percent: int, purchased: int) -> int:
    """The usage at which a threshold is reached: percent of purchased, rounded up, at least 1."""
    return max(1, -(-percent * purchased // 100))
