"""Python values in DynamoDB's JSON, and back."""

from collections.abc import Callable, Mapping
from typing import Any

from shared.dynamodb.keys import Key
from shared.dynamodb.requests import Item, NewerFormat, Value

# --- Wire form ----------------------------------------------------------------------------------


_WIRE: dict[type, Callable[[Any], dict[str, Any]]] = {
    str: lambda value: {"S": value},
    bool: lambda value: {"BOOL": value},
    int: lambda value: {"N": str(value)},
    dict: lambda value: {"M": {name: to_wire(inner) for name, inner in value.items()}},
    list: lambda value: {"L": [to_wire(inner) for inner in value]},
    frozenset: lambda value: {"SS": sorted(value)},
    type(None): lambda _: {"NULL": True},
}


def to_wire(value: Value) -> dict[str, Any]:
    """A Python value in DynamoDB's JSON.

    Raises:
        TypeError: it has no such form.
    """
    form = _WIRE.get(type(value))
    if form is None:
        raise TypeError(f"{type(value).__name__} has no wire form")
    return form(value)


def from_wire(wire: Mapping[str, Any]) -> Any:
    """A value in DynamoDB's JSON as Python; every number of this product is an integer."""
    [(kind, value)] = wire.items()
    if kind == "N":
        return int(value)
    if kind == "M":
        # Numbers are converted here directly: a shard has a hundred of them.
        return {
            name: int(inner["N"]) if "N" in inner else from_wire(inner)
            for name, inner in value.items()
        }
    if kind == "L":
        return [from_wire(inner) for inner in value]
    if kind == "SS":
        return frozenset(value)
    if kind == "NULL":
        return None
    return value


# The newest format of items that this code reads, and the attribute of a later one
# (docs/decisions/0016-item-formats.md).
FORMAT = 1
FORMAT_ATTRIBUTE = "itemFormat"
IS_READABLE = f"attribute_not_exists({FORMAT_ATTRIBUTE})"


def item_from_wire(wire: Mapping[str, Any]) -> Item:
    """A whole item, as the stream and the answers carry it.

    Raises:
        NewerFormat.
    """
    if FORMAT_ATTRIBUTE in wire and int(wire[FORMAT_ATTRIBUTE]["N"]) > FORMAT:
        raise NewerFormat(f"an item has format {wire[FORMAT_ATTRIBUTE]['N']}")
    return {name: from_wire(value) for name, value in wire.items()}


def item_to_wire(item: Mapping[str, Value]) -> dict[str, Any]:
    """A whole item; attributes that are None are left out."""
    return {name: to_wire(value) for name, value in item.items() if value is not None}


def key_to_wire(key: Key) -> dict[str, Any]:
    """A primary key."""
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
