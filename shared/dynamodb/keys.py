"""The keys of every kind of item, and the names of partitions and indexes.

This is the only place that makes them. `docs/data-model.md` describes the items.
"""

import hashlib
import zlib
from typing import NamedTuple


class Key(NamedTuple):
    """The primary key of one item."""

    pk: str
    sk: str


# --- Keys -----------------------------------------------------------------------------------------

DENIAL_SHARDS = 64
# What earlier releases had: the first ones of these.
_EARLIER_DENIAL_SHARDS = 16
SWEEP_PARTITIONS = 4
CANDIDATE_SHARDS = 16
CANDIDATES_NOW = "now"
AUDIT_SHARDS = 8
RANKING_SHARDS = 4
LIST_INDEX = "list"
SWEEP_INDEX = "sweep"
CAPACITY_INDEX = "room"
SEAT_SHARD_PREFIX = "LEDGER#"
USAGE_PREFIX = "USAGE#"
USAGE_SHARD_PREFIX = "PART#"
POOL_PREFIX = "POOL#"
TOTALS_PREFIX = "SUM#"
DENIAL_PREFIX = "DENIAL#"
ENTITLEMENT_PREFIX = "ENTITLEMENT#"
WEBHOOK_REQUEST_PREFIX = "WEBHOOK_REQUEST#"
REPORT_PREFIX = "REPORT#"
SEAT_REQUEST_PREFIX = "SEAT_REQUEST#"
ASKED = "ASKED#"
SCHEDULED_CHANGE_PREFIX = "SCHEDULED#"
SCHEDULED = "CHANGE#"
EXPIRY_PREFIX = "EXPIRY#"
OVERDRAFT_CLOCK_PREFIX = "CLOCK#"
FOLLOW_UP_PREFIX = "FOLLOWUP#"
FOLLOW_UP_ENTRY = "ENTRY#"
TRUE_UP_PREFIX = "TRUE_UP#"
CHANNEL_PREFIX = "CHANNEL#"
WORD_PREFIX = "WORD#"
CUSTOMER_PREFIX = "CUSTOMER#"
RANK_PREFIX = "RANK#"
SEATS = "seats"  # the meter of an entitlement's seats
# Partitions of the sweep's index for other things that are due at a time.
DUE_MAILS = "MAILS"
DUE_CHANGES = "SCHEDULED_CHANGES"
DUE_NOTICES = "EXPIRY_NOTICES"
DUE_FOLLOW_UPS = "FOLLOW_UPS"
DUE_OVERDRAFTS = "OVERDRAFTS"
DUE_CHANNELS = "CHANNELS"
DUE_DELIVERIES = tuple(f"DELIVERIES#{shard:x}" for shard in range(16))


def entitlement_key(entitlement_id: str) -> Key:
    """An entitlement: what was sold, to whom, on which terms."""
    return Key(f"{ENTITLEMENT_PREFIX}{entitlement_id}", "ENTITLEMENT")


def external_id_key(external_id: str) -> Key:
    """Which entitlement has this `externalId`."""
    return Key(f"EXTERNAL_ID#{external_id}", "EXTERNAL_ID")


def seat_shard_key(entitlement_id: str, page: int = 0) -> Key:
    """A shard of an entitlement's set of seats."""
    return Key(f"{SEAT_SHARD_PREFIX}{entitlement_id}#{page:04d}", "LEDGER")


def borrowed_seats_key(entitlement_id: str) -> Key:
    """Which seats of an entitlement are borrowed, and how many may be."""
    return Key(f"BORROWED#{entitlement_id}", "BORROWED")


def seat_usage_key(entitlement_id: str) -> Key:
    """The seat usage of a pool: a small item that every grant may read."""
    return Key(f"{POOL_PREFIX}{entitlement_id}", "STANDING")


def pool_key(entitlement_id: str) -> Key:
    """A pool: its number of shards, its unallocated seats, and what remains to be done."""
    return Key(f"{POOL_PREFIX}{entitlement_id}", "POOL")


def totals_key(entitlement_id: str) -> Key:
    """The totals of a pool: the changes of all its shards in one sequence."""
    return Key(f"{TOTALS_PREFIX}{entitlement_id}", "SUM")


def pool_sweep_partition(entitlement_id: str) -> str:
    """The partition of the sweep's index for the shards of one pool."""
    return f"SWEEP#{entitlement_id}"


def capacity_partition(entitlement_id: str, shard: int) -> str:
    """A partition of the capacity index of one pool."""
    return f"ROOM#{entitlement_id}#{shard}"


def usage_key(entitlement_id: str, usage: str, page: int = 0) -> Key:
    """The counter of a usage limit."""
    return Key(f"{USAGE_PREFIX}{entitlement_id}#{usage}#{page:04d}", "LEDGER")


def usage_shard_key(entitlement_id: str, usage: str, number: int) -> Key:
    """A shard of a usage limit. Its changes are reported by the counter, not by the stream."""
    return Key(f"{USAGE_SHARD_PREFIX}{entitlement_id}#{usage}#{number:04d}", "PART")


def consumption_key(entitlement_id: str, usage: str, request_key: str) -> Key:
    """An archived request: what it consumed, once it has left its counter's log."""
    return Key(f"CONSUMED#{entitlement_id}#{usage}#{request_key}", "CONSUMED")


def period_key(entitlement_id: str, usage: str, number: int) -> Key:
    """A period of a usage limit that has ended, by its number."""
    return Key(f"PERIODS#{entitlement_id}#{usage}", f"{number:06d}")


def correction_key(entitlement_id: str, usage: str, at_ms: int, seq: int) -> Key:
    """A correction of a usage limit."""
    return Key(f"CORRECTIONS#{entitlement_id}#{usage}", f"{at_ms:013d}#{seq:012d}")


def entitlement_id_of(pk: str) -> str:
    """The entitlement id in the partition key of a seat shard, a counter or a denial."""
    return pk.split("#")[1]


def shard_number(pk: str) -> int:
    """The number of a seat shard, by its partition key."""
    return int(pk.rpartition("#")[2])


def usage_meter(usage: str) -> str:
    """The meter of the usage limit with this key."""
    return f"usage#{usage}"


def usage_of(meter: str) -> str | None:
    """The key of a meter's usage limit; None for seats."""
    return None if meter == SEATS else meter.partition("#")[2]


def limit_of(pk: str) -> str:
    """The key of the usage limit of a counter or a usage shard, by its partition key."""
    kind, _, key, *_ = pk.split("#")
    assert f"{kind}#" in (USAGE_PREFIX, USAGE_SHARD_PREFIX), pk
    return key


def meter_of(pk: str) -> str:
    """The meter of a seat shard, a counter or a denial, by its partition key."""
    kind, _, *rest = pk.split("#")
    if f"{kind}#" in (USAGE_PREFIX, USAGE_SHARD_PREFIX):
        return usage_meter(rest[0])
    return usage_meter(rest[2]) if len(rest) > 2 else SEATS


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _of(meter: str) -> str:
    """The end of a partition key: empty for seats."""
    return "" if meter == SEATS else f"#{meter}"


def seat_record_key(entitlement_id: str, seat_key: str, page: int = 0) -> Key:
    """A seat record: the person behind a seat key."""
    return Key(f"SEATS#{entitlement_id}#{page:04d}", seat_key)


def denial_key(entitlement_id: str, seat_key: str, hour: str, meter: str = SEATS) -> Key:
    """Denied attempts of one seat key in one UTC hour (`YYYY-MM-DDTHH`).

    A seat key always falls on the same one of 64 partitions. So a storm of denials is spread. For a
    usage limit, a request key takes the place of the seat key.
    """
    return denial_keys(entitlement_id, seat_key, hour, meter)[0]


def denial_keys(entitlement_id: str, seat_key: str, hour: str, meter: str = SEATS) -> list[Key]:
    """The same, and where an earlier release wrote it, if that is another partition."""
    return [
        Key(_denial_partition(entitlement_id, shard, meter), f"{hour}#{seat_key}")
        for shard in _denial_shards(seat_key)
    ]


def later_denial_shard(key: Key) -> str:
    """The shard of a denial if earlier releases did not have it; otherwise nothing."""
    shard = key.pk.split("#")[2]
    return shard if int(shard, 16) >= _EARLIER_DENIAL_SHARDS else ""


def denial_partitions(entitlement_id: str, meter: str = SEATS) -> list[str]:
    """All partitions of an entitlement's denials."""
    shards = (f"{shard:x}" for shard in range(DENIAL_SHARDS))
    return [_denial_partition(entitlement_id, shard, meter) for shard in shards]


def _denial_partition(entitlement_id: str, shard: str, meter: str = SEATS) -> str:
    """One of the partitions of an entitlement's denials."""
    return f"{DENIAL_PREFIX}{entitlement_id}#{shard}{_of(meter)}"


def _denial_shards(seat_key: str) -> list[str]:
    """The partition of a seat key's denials, in hex; that of earlier releases, if it is another."""
    encoded = seat_key.encode()
    earlier = sum(encoded) % _EARLIER_DENIAL_SHARDS
    block = zlib.crc32(encoded) % (DENIAL_SHARDS // _EARLIER_DENIAL_SHARDS)
    shard = block * _EARLIER_DENIAL_SHARDS + earlier
    return [f"{each:x}" for each in dict.fromkeys((shard, earlier))]


def change_key(entitlement_id: str, at_ms: int, seq: int, page: int = 0, meter: str = SEATS) -> Key:
    """A change record: one accepted version of a shard or a counter, in the order of time."""
    pk = f"CHANGES#{entitlement_id}#{page:04d}{_of(meter)}"
    return Key(pk, f"{at_ms:013d}#{seq:012d}")


def denial_record_key(
    entitlement_id: str, at_ms: int, seat_key: str, attempts: int, meter: str = SEATS
) -> Key:
    """A denial record: one attempt of a seat key, by its number within the hour."""
    pk = denial_record_partitions(entitlement_id, seat_key, meter)[0]
    return Key(pk, f"{at_ms:013d}#{seat_key}#{attempts:09d}")


def denial_record_partitions(entitlement_id: str, seat_key: str, meter: str = SEATS) -> list[str]:
    """The partition of a seat key's denial records; that of earlier releases, if it is another."""
    return [
        f"CHANGES#{entitlement_id}#denied-{shard}{_of(meter)}" for shard in _denial_shards(seat_key)
    ]


def usage_bucket_key(entitlement_id: str, meter: str, bucket: str) -> Key:
    """A usage bucket: one meter in one quarter-hour (`YYYY-MM-DDTHH:MM`, UTC)."""
    return Key(f"HISTORY#{entitlement_id}#{meter}", bucket)


def denied_bucket_key(entitlement_id: str, bucket: str, seat_key: str, meter: str = SEATS) -> Key:
    """Denied attempts of one seat key in one quarter-hour."""
    return Key(f"HISTORY#{entitlement_id}#denied{_of(meter)}", f"{bucket}#{seat_key}")


def rollup_key(entitlement_id: str, meter: str, size: str, start: str) -> Key:
    """A roll-up of a UTC hour or day (`size`: `hours`, `days`), by its beginning."""
    return Key(f"HISTORY#{entitlement_id}#{meter}#{size}", start)


def denied_day_key(entitlement_id: str, day: str, meter: str = SEATS) -> Key:
    """Denied attempts on a UTC day (`YYYY-MM-DD`), by hour."""
    return Key(f"HISTORY#{entitlement_id}#denied-days{_of(meter)}", day)


def episode_key(entitlement_id: str, meter: str, start_ms: int) -> Key:
    """An overdraft episode, by its beginning."""
    return Key(f"EPISODES#{entitlement_id}#{meter}", f"{start_ms:013d}")


def mail_state_key(entitlement_id: str, audience: str) -> Key:
    """What an audience has to be notified of, and when it last got an e-mail."""
    return Key(f"MAIL#{entitlement_id}", f"STATE#{audience}")


def mail_key(entitlement_id: str, at_ms: int, audience: str) -> Key:
    """An e-mail: claimed, then sent."""
    return Key(f"MAIL#{entitlement_id}", f"SENT#{at_ms:013d}#{audience}")


def unsubscribed_key(entitlement_id: str, address_hash: str) -> Key:
    """Marks an address that wants no more e-mail about an entitlement."""
    return Key(f"MAIL#{entitlement_id}", f"UNSUBSCRIBED#{address_hash}")


def webhook_key(webhook_id: str) -> Key:
    """A webhook endpoint. All are in one partition: who sends events needs all of them."""
    return Key("WEBHOOKS", webhook_id)


def webhooks_version_key() -> Key:
    """Counts the changes of webhook endpoints, so that a cache of them can be checked."""
    return Key("WEBHOOKS_VERSION", "VERSION")


def webhook_secret_key(webhook_id: str) -> Key:
    """The secret that signs the messages to an endpoint."""
    return Key(f"WEBHOOK_SECRET#{webhook_id}", "SECRET")


def webhook_state_key(webhook_id: str) -> Key:
    """How an endpoint has been answering."""
    return Key(f"WEBHOOK_STATE#{webhook_id}", "STATE")


def webhook_request_key(webhook_id: str, request_id: str) -> Key:
    """A test event or a resend that was requested."""
    return Key(f"{WEBHOOK_REQUEST_PREFIX}{webhook_id}", request_id)


def due_deliveries(webhook_id: str) -> str:
    """The partition of the sweep's index for the deliveries to an endpoint."""
    return DUE_DELIVERIES[sum(webhook_id.encode()) % len(DUE_DELIVERIES)]


def delivery_key(webhook_id: str, at_ms: int, event_id: str) -> Key:
    """The delivery of one event to one endpoint."""
    return Key(f"DELIVERY#{webhook_id}", f"{at_ms:013d}#{event_id}")


def credential_key(key_id: str) -> Key:
    """What is known of a credential, by its public id.

    An API key, a license key, a portal link, a session of the console, the code of a link that
    signs in. Also marks an ID token that has been used to sign in.
    """
    return Key(f"KEY#{key_id}", "KEY")


def idempotency_key(digest: str) -> Key:
    """The answer to a request with an `Idempotency-Key`."""
    return Key(f"IDEMPOTENCY#{digest}", "IDEMPOTENCY")


def overdraft_key(entitlement_id: str, meter: str = SEATS) -> Key:
    """Marks an entitlement that is in overdraft."""
    return Key("OVERDRAFT", f"{entitlement_id}{_of(meter)}")


def report_candidate_shard(entitlement_id: str) -> int:
    """The partition of an entitlement's report candidates, one of 16 of a month."""
    return sum(entitlement_id.encode()) % CANDIDATE_SHARDS


def report_candidate_partition(month: str, shard: int) -> str:
    """The partition of the report candidates of a UTC month (`YYYY-MM`), or of now."""
    return f"NOTABLE#{month}#{shard:x}"


def report_candidate_key(entitlement_id: str, month: str, meter: str = SEATS) -> Key:
    """Marks a meter as a report candidate: it came near its limit, or denied, in a month."""
    shard = report_candidate_shard(entitlement_id)
    return Key(report_candidate_partition(month, shard), f"{entitlement_id}{_of(meter)}")


def parse_candidate(sort_key: str) -> tuple[str, str]:
    """The entitlement and the meter of a report candidate."""
    entitlement_id, _, meter = sort_key.partition("#")
    return entitlement_id, meter or SEATS


def seat_request_key(entitlement_id: str, at_ms: int, request_id: str) -> Key:
    """A customer's request for more seats, in the order of time."""
    return Key(f"{SEAT_REQUEST_PREFIX}{entitlement_id}", f"{ASKED}{at_ms:013d}#{request_id}")


def scheduled_change_key(entitlement_id: str, at_ms: int, change_id: str) -> Key:
    """A scheduled change of an entitlement, in the order of the time from which it holds."""
    return Key(f"{SCHEDULED_CHANGE_PREFIX}{entitlement_id}", f"{SCHEDULED}{at_ms:013d}#{change_id}")


def expiry_key(entitlement_id: str) -> Key:
    """When notice is to be given that an entitlement ends, and the last notice."""
    return Key(f"{EXPIRY_PREFIX}{entitlement_id}", "NOTICE")


def overdraft_clock_key(entitlement_id: str, meter: str) -> Key:
    """The clock of an overdraft as the stream reported it, and the last notice of it."""
    return Key(f"{OVERDRAFT_CLOCK_PREFIX}{entitlement_id}", meter)


def follow_up_key(entitlement_id: str) -> Key:
    """The follow-up of an entitlement by sales."""
    return Key(f"{FOLLOW_UP_PREFIX}{entitlement_id}", "STATE")


def follow_up_entry_key(entitlement_id: str, version: int) -> Key:
    """One change of a follow-up: who, when, what."""
    return Key(f"{FOLLOW_UP_PREFIX}{entitlement_id}", f"{FOLLOW_UP_ENTRY}{version:08d}")


def follow_up_list(state: str) -> str:
    """The partition of the `list` index for the follow-ups of a state."""
    return f"{FOLLOW_UP_PREFIX}{state}"


def word_key(word: str, entitlement_id: str = "") -> Key:
    """Marks that a word, in the form in which it is searched, is in an entitlement's names.

    A query of one partition reads the words with the same beginning.
    """
    return Key(f"{WORD_PREFIX}{word[0]}", f"{word}#{entitlement_id}")


def word_of(sort_key: str) -> tuple[str, str]:
    """The word and the entitlement of a word's item."""
    word, _, entitlement_id = sort_key.rpartition("#")
    return word, entitlement_id


def customer_key(customer: str, place: str = "") -> Key:
    """Marks that an entitlement is a customer's, by the customer's name or `externalId`.

    `place` is the `listSort` of the entitlement: a customer's are in the order of their creation.
    A hash stands for the customer, since a key has a length.
    """
    return Key(f"{CUSTOMER_PREFIX}{_digest(customer)}", place)


def person_key(seat_id: str, entitlement_id: str = "") -> Key:
    """Marks that a person has held a seat of an entitlement, or was denied one.

    A hash stands for the person, so that their id is stored in fewer places.
    """
    return Key(f"PERSON#{_digest(seat_id)}", entitlement_id)


def holder_list(entitlement_id: str) -> str:
    """The partition of the `list` index with everybody who has held a seat, by their id."""
    return f"HOLDERS#{entitlement_id}"


def holder_sort(text: str, seat_key: str) -> str:
    """The place of a person there; `text` is their id in the form in which it is searched."""
    return f"{text}#{seat_key}"


def key_in(sort: str) -> str:
    """The seat key of a person, by their place there."""
    return sort.rpartition("#")[2]


def rank_key(entitlement_id: str, ranking: str) -> Key:
    """The place of an entitlement in a ranking, such as `denials#2026-11`."""
    return Key(f"{RANK_PREFIX}{entitlement_id}", ranking)


def ranking_partition(ranking: str, entitlement_id: str) -> str:
    """The partition of the sweep's index in which an entitlement has its place."""
    return ranking_partitions(ranking)[sum(entitlement_id.encode()) % RANKING_SHARDS]


def ranking_partitions(ranking: str) -> list[str]:
    """The partitions of the sweep's index that have a ranking together."""
    return [f"{RANK_PREFIX}{ranking}#{shard}" for shard in range(RANKING_SHARDS)]


def channel_key(entitlement_id: str, webhook_id: str) -> Key:
    """The next message of a chat channel about an entitlement, and the time of the last one."""
    return Key(f"{CHANNEL_PREFIX}{entitlement_id}", webhook_id)


def event_key(entitlement_id: str, at_ms: int, event_id: str) -> Key:
    """An event of an entitlement, for the list of its events."""
    return Key(f"EVENTS#{entitlement_id}", f"{at_ms:013d}#{event_id}")


def true_up_line_key(entitlement_id: str, line_id: str) -> Key:
    """The vendor's decision about a line of a true-up."""
    return Key(f"{TRUE_UP_PREFIX}{entitlement_id}", line_id)


def audit_key(entitlement_id: str | None, at_ms: int, change_id: str) -> Key:
    """An audit entry: one change that somebody made; None for what is of no entitlement."""
    return Key(f"AUDIT#{entitlement_id or 'stack'}", f"{at_ms:013d}#{change_id}")


def audit_shard(change_id: str) -> int:
    """The part of its month that an audit entry is in, one of 8."""
    return sum(change_id.encode()) % AUDIT_SHARDS


def audit_list(month: str, shard: int) -> str:
    """A partition of the `list` index: a part of the audit entries of a UTC month (`YYYY-MM`)."""
    return f"AUDIT#{month}#{shard:x}"


def report_key(report_id: str) -> Key:
    """A report: what was asked for, and its progress."""
    return Key(f"{REPORT_PREFIX}{report_id}", "REPORT")


def report_job_key(report_id: str, step: str, number: int) -> Key:
    """Counts the attempts of a report's job."""
    return Key(f"REPORT_JOB#{report_id}", f"{step}#{number:05d}")


def report_series_key(series: str) -> Key:
    """The newest report of one period and filters."""
    return Key(f"REPORT_SERIES#{series}", "SERIES")


def secret_key(name: str) -> Key:
    """A secret that this stack has made for itself."""
    return Key(f"SECRET#{name}", "SECRET")


def search_progress_key() -> Key:
    """How far entitlements of earlier releases have been made searchable."""
    return Key("SEARCH", "PROGRESS")


def heartbeat_key() -> Key:
    """Written every minute, so that the stream always has something to read."""
    return Key("HEARTBEAT", "HEARTBEAT")


def sweep_partition(entitlement_id: str) -> str:
    """The partition of the sweep's index for this entitlement."""
    return f"SWEEP#{sum(entitlement_id.encode()) % SWEEP_PARTITIONS}"
