"""The seats of an entitlement: who holds one, and what one more request may get.

A set of up to 128 seats has one shard, whose limits are those of the entitlement. A larger set, a
*pool*, has several shards, and the shard of a seat follows from the seat's key. Each shard owns an
*allocation*: the number of seats that it may hold by itself. The allocations and the pool's
unallocated seats always add up to the hard cap. So a grant is one write on one shard, and the cap
is never exceeded (escrow: O'Neil 1986; demarcation: Barbará and Garcia-Molina 1992; bounded
counters: Balegas 2015). A shard without free capacity takes half of the free capacity of another
shard together with the seat, in a transaction of two items (`donors`).

Shards that may have free capacity are in a sparse index. A write that adds capacity puts the shard
into the index. A request that looks for capacity and finds none removes the shard from it. So the
index may name a shard too many, and it misses a shard only for as long as it lags.

Reading order. One shard: `encoding` (how a grant is stored), `shard` (a shard as read, and the
decisions), `holder`, `writes` (the conditional writes), `pending` (a request while it is decided),
`activation` and `release` (the operations), `leases`, `borrowing` (seats for longer than the
lease). Pools: `placement` (how many shards, and which has a seat), `pool`, `lookup`, `cache`,
`donors`, `terms` (new limits), `resharding` and `reconcile` (what follows from them), `totals`.
Answers: `seat_usage`, `held_seats`.
"""
