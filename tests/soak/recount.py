"""At the end: the evidence against a recount of what happened."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.soak.play import Play


def check_evidence(play: "Play") -> None:
    """Nothing yet."""
