"""A pool: the item that has the terms and the unallocated seats of a set of several shards."""

from typing import NamedTuple

from shared.dynamodb.keys import pool_key
from shared.dynamodb.patterns import read_existing
from shared.dynamodb.requests import Item, Operation

_CLOSED = ("deleted", "expired")


class Pool(NamedTuple):
    """A pool as read.

    `generation` is the version of its terms, `observed_generation` the last one that has reached
    every shard. `shard_count` is None while all seats are on one shard; `next_shard_count` is set
    while seats move. `unallocated` seats under the hard cap belong to no shard; a negative number
    is a deficit, which the shards owe (`is_draining`: they pay it with every release).
    """

    generation: int
    observed_generation: int
    shard_count: int | None
    next_shard_count: int | None
    unallocated: int
    is_draining: bool
    needs_reconcile: bool
    terms: Item

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
        )

    @property
    def hard_cap(self) -> int | None:
        """The hard cap of its terms; None: unlimited."""
        cap: int | None = self.terms.get("hardCap")
        return cap

    @property
    def is_closed(self) -> bool:
        """Whether its entitlement has been deleted or has expired."""
        return self.terms.get("status") in _CLOSED


def read_pool(entitlement_id: str) -> Operation[Pool]:
    """Read a pool that must exist."""
    return Pool.of((yield from read_existing(pool_key(entitlement_id))))
