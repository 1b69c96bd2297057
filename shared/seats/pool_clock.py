"""The end of an overdraft's period in a pool: its cap follows the clock.

The shards of a pool do not know its clock, which the totals have. So the cap itself is lowered to
what was purchased, like any change of limits, and raised again when use has recovered. The
reconciler does that with every sweep. A request that comes first does it here.
"""

from shared.audit import Change
from shared.dynamodb.requests import Operation
from shared.seats.pool import Pool, read_pool

# How long a request works on it.
WORK_MS = 3_000


def follow_clock(entitlement_id: str, change: Change) -> Operation[Pool]:
    """Have the cap follow the clock, unless another process does so now; the pool as it is then."""
    # Once or twice in an overdraft: no other request needs this module.
    from shared.seats.reconcile import reconcile_pool  # noqa: PLC0415

    until_ms = change.now_ms + WORK_MS
    yield from reconcile_pool(entitlement_id, change, until_ms, only_allocations=True)
    return (yield from read_pool(entitlement_id))
