"""Chat channels: endpoints that get messages for people in place of events.

What happens to an entitlement is joined: a channel gets at most one message an hour of it, with the
sum. Some events are sent at once, each in a message of its own. Everything else is not sent.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.events import types
from shared.webhooks.endpoints import covers

STANDARD, SLACK, TEAMS = FORMATS = ("standard", "slack", "teams")
JOINED = frozenset(
    (
        types.SEAT_DENIED,
        types.OVERDRAFT_ENTERED,
        types.OVERDRAFT_EXITED,
        types.OVERDRAFT_EXHAUSTED,
        types.THRESHOLD_REACHED,
        types.USAGE_DENIED,
        types.USAGE_OVERDRAFT_ENTERED,
        types.USAGE_OVERDRAFT_EXHAUSTED,
        types.USAGE_THRESHOLD_REACHED,
        types.EXPIRING,
        types.FOLLOW_UP_DUE,
        *types.NOTICE_TYPES,
    )
)
AT_ONCE = frozenset(
    (
        types.SEATS_REQUESTED,
        types.CHANGE_FAILED,
        types.REPORT_PUBLISHED,
        types.TRUE_UP_PUBLISHED,
        types.ENDPOINT_DISABLED,
    )
)


def format_of(endpoint: Mapping[str, Any]) -> str:
    """The format of an endpoint. Those of earlier releases have the standard one."""
    return str(endpoint.get("format") or STANDARD)


def is_channel(endpoint: Mapping[str, Any]) -> bool:
    """Whether an endpoint gets messages for people."""
    return format_of(endpoint) != STANDARD


def sent_types(patterns: Iterable[str], kinds: Iterable[str] = JOINED | AT_ONCE) -> frozenset[str]:
    """The types of events about which a channel with these patterns gets messages."""
    known = list(patterns)
    return frozenset(kind for kind in kinds if any(covers(each, kind) for each in known))
