"""Use over time, as a table or drawn in the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from overdraft.cli import output
from overdraft.cli.output import when

HEIGHT, NARROWEST, WIDEST, TICKS = 18, 40, 160, 6


def show_history_table(items: Sequence[Any]) -> None:
    """A row for each interval, with the limits at its end."""
    rows = [
        (
            when(each["from"]),
            each["highest"],
            each.get("consumed", each.get("activations")),
            _limit(each, "purchased"),
            _limit(each, "hardCap"),
            each["deniedAttempts"],
        )
        for each in items
    ]
    done = "#consumed" if items and "consumed" in items[0] else "#activations"
    columns = ("from", "#highest", done, "#purchased", "#hard cap", "#turned away")
    output.show_table(columns, rows, "Nothing was used.")


def show_history(items: Sequence[Any]) -> None:
    """The highest use of each interval, and both limits at its end."""
    if not items:
        output.say("Nothing was used.", "dim")
        return
    # Only those who draw pay for this import.
    import plotext  # noqa: PLC0415

    drawn = plotext.figure
    drawn.clear()
    drawn.theme("simple")
    drawn.plot_size(min(WIDEST, max(NARROWEST, shutil.get_terminal_size().columns)), HEIGHT)
    for values in (
        [_limit(each, "hardCap") for each in items],
        [_limit(each, "purchased") for each in items],
        [each["highest"] for each in items],
    ):
        known = [(number, value) for number, value in enumerate(values) if value is not None]
        if known:
            signal = drawn.signal(*map(list, zip(*known, strict=True)))
            signal.lines()
            drawn.draw(signal)
    numbers = list(range(0, len(items), max(1, len(items) // TICKS)))
    drawn.ruler("x").ticks(numbers, [when(items[number]["from"]) for number in numbers])
    drawn.ruler("y").lim(0)
    drawn.show(colorless=not output.console.is_terminal)
    cap, purchased = _limit(items[-1], "hardCap"), _limit(items[-1], "purchased")
    lines = [f"hard cap {cap:,}"] if cap is not None else []
    lines += [f"purchased {purchased:,}"] if purchased is not None else []
    output.say(f"The curve is the highest use of each interval. Lines: {', '.join(lines)}.", "dim")


def _limit(interval: Any, name: str) -> int | None:
    """A limit at the end of an interval; None: there was none."""
    limits = interval["limits"]
    found: int | None = limits[-1][name] if limits else None
    return found
