"""A pool: the item that has the terms and the unallocated seats of a set of several shards."""

from typing import NamedTuple

from shared.dynamodb.keys import pool_key
from shared.dynamodb.patterns import read_existing
from shared.dynamodb.requests import Item, Operation
from shared.limits import lowest

_CLOSED = ("deleted", "expired")


class Pool(NamedTuple):
    """A pool as read.

    `generation` is the version of its terms, `observed_generation` the last one that has reached
    every shard. `shard_count` is None while all seats are on one shard; `next_shard_count` is set
    while seats move. `unallocated` seats under the hard cap belong to no shard; a negative number
    is a deficit, which the shards owe (`is_draining`: they pay it with every release). `lowered_to`
    is what was purchased, while it is the cap because the period of an overdraft has ended.
    """

    generation: int
    observed_generation: int
    shard_count: int | None
    next_shard_count: int | None
    unallocated: int
    is_draining: bool
    needs_reconcile: bool
    terms: Item
    lowered_to: int | None = None

    @classmethod
    def of(cls, item: Item) -> "Pool":
        """The pool in its item."""
        return cls(
            item["version"],
            item.get("spread", 0),
            item.get("pages") or None,
            item.get("step") or None,
            item.get("bank", 0),
            bool(item.get("isFrozen")),
            bool(item.get("isPending")),
            item.get("terms", {}),
            item.get("loweredTo"),
        )

    @property
    def cap(self) -> int | None:
        """What its allocations add up to: the cap that holds now; None: there is none."""
        return lowest(self.terms.get("hardCap"), self.lowered_to)

    @property
    def has_period(self) -> bool:
        """Whether an overdraft may only last for a time."""
        return "overdraftPeriod" in self.terms

    @property
    def has_settled(self) -> bool:
        """Whether the cap is what was purchased, and no shard has more than its part of it."""
        return self.lowered_to is not None and (self.unallocated >= 0 or self.is_draining)

    @property
    def is_closed(self) -> bool:
        """Whether its entitlement has been deleted or has expired."""
        return self.terms.get("status") in _CLOSED


def read_pool(entitlement_id: str) -> Operation[Pool]:
    """Read a pool that must exist."""
    return Pool.of((yield from read_existing(pool_key(entitlement_id))))
