"""Building update expressions."""

from collections.abc import Iterable, Mapping

from shared.dynamodb.requests import Value


def assign(sets: Mapping[str, Value]) -> tuple[list[str], list[str], dict[str, Value]]:
    """The assignments, the removals (of what is None) and the values of an update."""
    assignments, removals, values = [], [], dict[str, Value]()
    for number, (name, value) in enumerate(sets.items()):
        if value is None:
            removals.append(name)
        else:
            assignments.append(f"{name} = :v{number}")
            values[f":v{number}"] = value
    return assignments, removals, values


def set_and_remove(assignments: Iterable[str], removals: Iterable[str]) -> str:
    """An update expression from assignments and removals."""
    changes = {"SET": ", ".join(assignments), "REMOVE": ", ".join(removals)}
    return " ".join(f"{verb} {what}" for verb, what in changes.items() if what)
