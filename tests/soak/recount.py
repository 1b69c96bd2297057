"""At the end: the product's evidence against a recount of what happened."""

import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from shared import report_links
from shared.clock import to_rfc3339
from shared.dynamodb.keys import SEATS, report_key
from shared.events import types as event_types
from tests.soak.checks import GRACE, Seats
from tests.support.requests import event

if TYPE_CHECKING:
    from tests.soak.play import Play, Sold

QUARTER_MS = 900_000
# Events that are not on an entitlement's list (docs/guides/events-and-webhooks.md).
NOT_LISTED = ("entitlement.seat.", event_types.USAGE_DENIED)
REPORT_ROUNDS = 400  # of ten seconds: an hour
SWEPT = 150.0  # seconds after which the sweep has freed a lease that has ended
E = "/v1/entitlements"


def check_evidence(play: "Play") -> None:
    """Events, webhooks, holders, counts and the report are what happened.

    Raises:
        Violation.
    """
    _check_events(play)
    _check_webhooks(play)
    _check_imports(play)
    for sold in play.sold:
        if not sold.seats.is_ending:
            _check_holders(play, sold)
            _check_usage(play, sold)
            if not sold.seats.erased:
                _check_records(play, sold)
    _check_report(play)


def _equal(play: "Play", what: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        play.checks.fail(f"{what}: {found}, but it should be {wanted}")


def _check_events(play: "Play") -> None:
    """Each grant, each end and each denial has one event, however often it was sent."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for each in play.product.services.events.values():
        data = each["data"]
        of = (each["type"], data.get("entitlementId", ""))
        found.setdefault(of, Counter())[data.get("activationId") or data.get("requestId", "")] += 1
    for sold in play.sold:
        seats = sold.seats
        if seats.erased:  # their events are gone from the table; those of the bus stay
            continue
        activated = found.get((event_types.SEAT_ACTIVATED, sold.id), Counter())
        _equal(play, "activations with an event", activated.total(), seats.grants)
        ended = found.get((event_types.SEAT_DEACTIVATED, sold.id), Counter())
        _equal(play, "ends with an event", ended.total(), seats.ends)
        denied = found.get((event_types.SEAT_DENIED, sold.id), Counter())
        on_record = play.checks.denied[sold.id, SEATS]
        _equal(play, "denials with an event", denied.total(), len(on_record))


def _check_webhooks(play: "Play") -> None:
    """The endpoint that wants all events got each of them.

    When a person is erased, deliveries that name them and wait to be sent are deleted.
    """
    erased = {sold.id for sold in play.sold if sold.seats.erased}
    received = set().union(*play.product.received.values())
    missing = {
        name: event["type"]
        for name, event in play.product.services.events.items()
        if name not in received and event["data"].get("entitlementId") not in erased
    }
    _equal(play, "events that the endpoint did not get", missing, {})


def _check_imports(play: "Play") -> None:
    """Whatever was sent at the same time, an id of the vendor's names one entitlement."""
    names = Counter(
        item["document"]["externalId"]
        for key, item in play.world.table.items.items()
        if key.pk.startswith("ENTITLEMENT#") and item.get("document", {}).get("externalId")
    )
    for name, times in names.items():
        _equal(play, f"entitlements with the id {name}", times, 1)


def _pages(play: "Play", route: str, path: dict[str, str]) -> list[dict[str, Any]]:
    """Everything that a list has."""
    found: list[dict[str, Any]] = []
    query = {"limit": "100"}
    while True:
        asked = partial(event, route, path, query=dict(query))
        status, page = play.ask(asked, "end", rate=0.0)
        assert status == 200, page
        found += page["items"]
        if not page["nextPageToken"]:
            return found
        query["pageToken"] = page["nextPageToken"]


def _check_holders(play: "Play", sold: "Sold") -> None:
    route = f"GET {E}/{{entitlementId}}/activations"
    listed = _pages(play, route, {"entitlementId": sold.id})
    found = {each["seatKey"] for each in listed}
    now = play.world.now
    # Leases that end just now may be listed or not: clocks differ, and the sweep comes every minute.
    surely = {key for key in sold.seats.held if sold.seats.left(key, now) > 2 * GRACE}
    perhaps = {key for key in sold.seats.held if sold.seats.left(key, now) > -SWEPT}
    if not surely <= found <= perhaps or len(listed) != len(found):
        play.checks.fail(f"holders: {sorted(found)}, but it should be {sorted(surely)}")


def _check_usage(play: "Play", sold: "Sold") -> None:
    for limit in sold.terms["usageLimits"]:
        usage = play.checks.usage[sold.id, limit["key"]]
        route = f"GET {E}/{{entitlementId}}/usage/{{key}}/periods"
        periods = _pages(play, route, {"entitlementId": sold.id, "key": limit["key"]})
        counted = sum(period["usage"]["used"] for period in periods)
        wanted = sum(usage.accepted.values()) + sum(usage.corrections.values())
        _equal(play, f"use of {limit['key']}", counted, wanted)


def _check_records(play: "Play", sold: "Sold") -> None:
    """Every change of seats is on record, and every event of the entitlement in its list."""
    prefix = f"CHANGES#{sold.id}#0000"
    kinds = Counter(
        seat["kind"]
        for key, item in play.world.table.items.items()
        if key.pk == prefix
        for seat in item["seats"]
    )
    _equal(play, "activations on record", kinds["activated"], sold.seats.grants)
    route = f"GET {E}/{{entitlementId}}/events"
    listed = {each["id"] for each in _pages(play, route, {"entitlementId": sold.id})}
    sent = {
        name
        for name, event in play.product.services.events.items()
        if event["data"].get("entitlementId") == sold.id
        and not event["type"].startswith(NOT_LISTED)
    }
    _equal(play, "events that are not listed", sorted(sent - listed), [])


def _made(play: "Play", what: str, body: dict[str, Any]) -> dict[str, Any]:
    """What a report or a statement says in JSON. It is made amid faults, as everything was."""
    play.product.rate = play.story.rate
    headers = {"idempotency-key": f"{what}-{play.story.seed}"}
    status, asked = play.ask(
        lambda: event(f"POST /v1/{what}", body=body, headers=headers), f"{play.story.seed} {what}"
    )
    assert status == 202, asked
    name = asked.get("reportId") or asked.get("trueUpId")
    for _ in range(REPORT_ROUNDS):
        play.world.sleep(10)
        item = play.world.table.items[report_key(name)]
        if item["status"] == "published":
            play.product.rate = 0.0
            content = play.product.store.files[report_links.file_name(item["folder"], "json")]
            result: dict[str, Any] = json.loads(content)
            return result
        if item["status"] == "failed":
            break
    play.checks.fail(f"{what}: {item}")
    raise AssertionError


def _check_report(play: "Play") -> None:
    """A report of the time of the story."""
    start = (play.story.start_ms - 6_000_000) // QUARTER_MS * QUARTER_MS
    made = _made(
        play, "reports", {"from": to_rfc3339(start), "timeZone": "UTC", "formats": ["json", "csv"]}
    )
    entries = {each["entitlementId"]: each for each in made["entitlements"]}
    for sold in play.sold:
        if sold.seats.erased or sold.seats.is_ending:
            continue
        shown = entries.get(sold.id) or {"seats": None, "usage": []}
        wanted = _of_seats(play, sold.seats)
        if shown["seats"] is not None:
            found = {name: shown["seats"][name] for name in wanted}
            _equal(play, "the report's seats", found, wanted)
            if not sold.seats.is_pool:
                _equal(play, "the report's peak", shown["seats"]["peak"], sold.seats.most)
        # In a pool a seat may be marked by totals that are a moment old (docs/guides/seats.md).
        elif wanted["deniedAttempts"] or (wanted["overdraftSeats"] and not sold.seats.is_pool):
            play.checks.fail(f"the seats of {sold.id} are not in the report: {wanted}")
        for of in shown["usage"]:
            _check_counted(play, sold, of)


def _of_seats(play: "Play", seats: Seats) -> dict[str, int]:
    denied = play.checks.denied[seats.id, SEATS]
    return {
        "activations": seats.grants,
        "activatedSeats": len({key for key, _ in seats.granted}),
        "overdraftSeats": len({key for (key, _), over in seats.granted.items() if over}),
        "deniedSeats": len(set(denied.values())),
        "deniedAttempts": len(denied),
    }


def _check_counted(play: "Play", sold: "Sold", shown: dict[str, Any]) -> None:
    usage = play.checks.usage[sold.id, shown["key"]]
    _equal(play, f"the report's {shown['key']}", shown["consumed"], sum(usage.accepted.values()))
    denied = play.checks.denied[sold.id, shown["key"]]
    _equal(play, "the report's denied attempts", shown["deniedAttempts"], len(denied))
