"""Scheduled changes: made, refused, cancelled, applied once."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from functions.manage import scheduled_changes
from shared.clock import now_ms, to_rfc3339
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import audit_key
from shared.dynamodb.requests import Query, Transact, Unavailable
from tests.support.tables import Crash, faulty_client, interrupted_client, this_thread_as
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"
MINUTE = 60_000
DAY = 86_400_000


class Later:
    """One entitlement, and its scheduled changes."""

    def __init__(self, api: Api, **terms: Any) -> None:
        self.api = api
        self.id = api.create(**{"overdraftSeatLimit": {"type": "absolute", "value": 2}, **terms})
        self.now = now_ms()

    def call(self, method: str, rest: str = "", *args: Any, **more: Any) -> tuple[int, Any]:
        path = {"entitlementId": self.id, **more.pop("path", {})}
        status, answer, _ = self.api.call(f"{method} {E}{rest}", path, *args, **more)
        return status, answer

    def schedule(self, minutes: float, changes: Any, **more: Any) -> tuple[int, Any]:
        body = {
            "effectiveAt": to_rfc3339(self.now + int(minutes * MINUTE)),
            "changes": changes,
            **more.pop("body", {}),
        }
        return self.call("POST", "/scheduled-changes", body, **more)

    def scheduled(self, minutes: float, changes: Any) -> str:
        status, answer = self.schedule(minutes, changes)
        assert status == 201, answer
        return str(answer["scheduledChangeId"])

    def run(self, minutes: float, dynamodb: DynamoDBClient | None = None) -> dict[str, int]:
        at = self.now + int(minutes * MINUTE)
        with this_thread_as("EntitlementsRole"):
            return scheduled_changes.apply_due(
                dynamodb or self.api.dynamodb, f"tick-{minutes}", lambda: at, at + MINUTE
            )

    def status(self, change_id: str) -> str:
        return str(self.read(change_id)["status"])

    def read(self, change_id: str) -> Any:
        route = "/scheduled-changes/{scheduledChangeId}"
        status, answer = self.call("GET", route, path={"scheduledChangeId": change_id})
        assert status == 200
        return answer

    def cancel(self, change_id: str) -> tuple[int, Any]:
        route = "/scheduled-changes/{scheduledChangeId}"
        return self.call("DELETE", route, path={"scheduledChangeId": change_id})

    def seat_count(self) -> int:
        return int(self.call("GET")[1]["seatCount"])

    def on_record(self) -> list[Any]:
        """The audit trail, newest first; the API does not show what is still to come."""
        partition = audit_key(self.id, 0, "").pk
        query = Query("pk = :pk", {":pk": partition}, descending=True)
        items: list[Any] = self.api.dynamodb.execute(query).items
        return items


@pytest.fixture
def later(api: Api) -> Later:
    return Later(api)


def test_a_change_takes_effect_at_its_time_and_is_on_record(later: Later) -> None:
    change_id = later.scheduled(10, {"seatCount": 130})
    assert later.run(9.9) == {"applied": 0, "failed": 0, "late": 0}
    assert (later.seat_count(), later.status(change_id)) == (2, "pending")
    assert later.run(10.1)["applied"] == 1
    assert (later.seat_count(), later.status(change_id)) == (130, "applied")
    ended = later.read(change_id)
    assert (ended["endedBy"], ended["failure"]) == ("schedule", None)
    # Once: another run finds nothing.
    assert later.run(11)["applied"] == 0
    assert later.cancel(change_id)[0] == 409
    # Those of the same moment have no order.
    [updated] = [each for each in later.on_record() if each["type"] == "entitlement.updated"]
    assert updated["changes"] == {"seatCount": {"before": 2, "after": 130}}
    assert (updated["subjectId"], updated["reason"]) == (change_id, "scheduled")
    [made] = [each for each in later.on_record() if each["type"] == "scheduled_change.created"]
    assert (made["actor"], made["subjectId"]) == (updated["actor"], change_id)


def test_changes_take_effect_in_their_order(later: Later) -> None:
    later.scheduled(20, {"seatCount": 7})
    later.scheduled(10, {"seatCount": 5, "sku": "five"})
    assert later.run(30)["applied"] == 2
    assert later.seat_count() == 7
    assert later.call("GET")[1]["sku"] == "five"


def test_a_cancelled_change_is_not_applied(later: Later) -> None:
    change_id = later.scheduled(10, {"seatCount": 5})
    for _ in range(2):  # a repeated request succeeds as well
        assert later.cancel(change_id) == (204, "")
    assert later.run(11)["applied"] == 0
    assert (later.seat_count(), later.status(change_id)) == (2, "cancelled")
    kinds = [each["type"] for each in later.on_record()]
    assert kinds.count("scheduled_change.cancelled") == 1


@pytest.mark.parametrize(
    ("minutes", "changes", "pointer"),
    [
        (-1, {"seatCount": 5}, "/effectiveAt"),
        (1_200 * 1_440, {"seatCount": 5}, "/effectiveAt"),
        (10, {}, "/changes"),
        (10, {"seatCount": 2}, "/changes"),
        (10, {"seatCount": -1}, "/changes/seatCount"),
        (10, {"nosuch": 1}, "/changes/nosuch"),
        (10, {"hardCap": 9}, "/changes/hardCap"),
        (10, [1], "/changes"),
        (10, {"usageLimits": [{"key": "a b", "limit": 1}]}, "/changes/usageLimits/0/key"),
    ],
)
def test_what_would_not_be_valid_is_refused_and_changes_nothing(
    later: Later, minutes: float, changes: Any, pointer: str
) -> None:
    status, answer = later.schedule(minutes, changes)
    assert (status, answer["errors"][0]["pointer"]) == (400, pointer), answer
    assert later.call("GET", "/scheduled-changes")[1]["items"] == []


def test_a_change_is_checked_against_what_those_before_it_leave(later: Later) -> None:
    until = to_rfc3339(later.now + 30 * MINUTE)
    later.scheduled(10, {"validUntil": until})
    begins = {"validFrom": to_rfc3339(later.now + 40 * MINUTE)}
    status, answer = later.schedule(20, begins)
    assert (status, answer["errors"][0]["pointer"]) == (400, "/changes/validUntil")
    assert later.schedule(5, begins)[0] == 201, "it takes effect before the other"


def test_a_change_that_is_not_valid_any_more_fails_and_says_why(later: Later) -> None:
    change_id = later.scheduled(10, {"validFrom": to_rfc3339(later.now + DAY)})
    assert later.call("PATCH", "", {"validUntil": to_rfc3339(later.now + DAY // 2)})[0] == 200
    assert later.run(10.1)["failed"] == 1
    failed = later.read(change_id)
    assert failed["status"] == "failed"
    assert "must be after validFrom" in failed["failure"]
    assert later.on_record()[0]["type"] == "scheduled_change.failed"


def test_a_deleted_entitlement_is_left_alone(later: Later) -> None:
    change_id = later.scheduled(10, {"seatCount": 5})
    assert later.call("DELETE")[0] == 204
    assert later.schedule(10, {"seatCount": 6})[0] == 404
    assert later.run(11)["failed"] == 1
    assert later.read(change_id)["failure"] == "The entitlement has been deleted."


def test_what_changed_meanwhile_stays(later: Later) -> None:
    """A merge patch says what it changes, and nothing else."""
    later.scheduled(10, {"seatCount": 5})
    later.call("PATCH", "", {"sku": "meanwhile"})
    later.run(11)
    entitlement = later.call("GET")[1]
    assert (entitlement["seatCount"], entitlement["sku"]) == (5, "meanwhile")


def test_a_change_that_changes_nothing_any_more_is_applied(later: Later) -> None:
    change_id = later.scheduled(10, {"seatCount": 5})
    later.call("PATCH", "", {"seatCount": 5})
    assert later.run(11)["applied"] == 1
    assert later.status(change_id) == "applied"


def test_seats_and_usage_limits_follow(api: Api) -> None:
    """Of a pool as well, and of a limit that is new."""
    later = Later(api, seatCount=300)
    later.scheduled(
        10,
        {"seatCount": 500, "usageLimits": [{"key": "exports", "limit": 9}], "leasePeriod": "PT1H"},
    )
    assert later.run(11)["applied"] == 1
    entitlement = later.call("GET")[1]
    assert (entitlement["hardCap"], entitlement["seats"]["purchased"]) == (502, 500)
    status, answer = later.call("GET", "/usage")
    assert status == 200
    [limit] = answer["items"]
    assert (limit["key"], limit["usage"]["purchased"]) == ("exports", 9)


def test_so_many_may_be_pending(later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduled_changes, "MOST_PENDING", 2)
    first = later.scheduled(10, {"seatCount": 5})
    later.scheduled(11, {"seatCount": 6})
    status, answer = later.schedule(12, {"seatCount": 7})
    assert status == 400
    assert "cancel one first" in answer["detail"]
    later.cancel(first)
    later.scheduled(12, {"seatCount": 7})


def test_the_same_request_twice_is_one_change(later: Later) -> None:
    headers = {"idempotency-key": "renewal"}
    first = later.schedule(10, {"seatCount": 5}, headers=headers)
    assert later.schedule(10, {"seatCount": 5}, headers=headers) == first
    assert len(later.call("GET", "/scheduled-changes")[1]["items"]) == 1


@pytest.mark.parametrize("kind", ["after", "before", "lost"])
def test_it_is_applied_once_whatever_crashes(later: Later, engine_url: str, kind: str) -> None:
    """Broken at every one of its calls, and run again a minute later."""
    for point in range(100):
        wanted = 10 + point
        change_id = later.scheduled(1, {"seatCount": wanted})
        broken = faulty_client(engine_url, later.api.dynamodb.name)
        broken.fault = (point, kind)
        with suppress(Crash):
            later.run(2, broken)
        finished = broken.calls <= point
        later.run(3)
        assert (later.seat_count(), later.status(change_id)) == (wanted, "applied")
        entries = [each for each in later.on_record() if each.get("subjectId") == change_id]
        assert sorted(each["type"] for each in entries) == [
            "entitlement.updated",
            "scheduled_change.created",
        ]
        if finished:
            assert point > 3
            return
    pytest.fail("it never came to an end")


def _interrupted(later: Later, url: str, other: Callable[[], None]) -> DynamoDBClient:
    """A client before whose every transaction something else happens."""

    def before(_: int, request: Any) -> None:
        if isinstance(request, Transact):
            other()

    return interrupted_client(url, later.api.dynamodb.name, before)


def test_two_runs_at_the_same_moment_apply_it_once(later: Later, engine_url: str) -> None:
    change_id = later.scheduled(10, {"seatCount": 5})
    counts: list[int] = []
    first = later.run(
        11, _interrupted(later, engine_url, lambda: counts.append(later.run(11)["applied"]))
    )
    assert (first["applied"], counts) == (0, [1])
    assert (later.seat_count(), later.status(change_id)) == (5, "applied")


def test_a_change_that_is_cancelled_at_the_last_moment_is_not_applied(
    later: Later, engine_url: str
) -> None:
    change_id = later.scheduled(10, {"seatCount": 5})
    codes: list[int] = []
    done = later.run(
        11, _interrupted(later, engine_url, lambda: codes.append(later.cancel(change_id)[0]))
    )
    assert (done["applied"], codes) == (0, [204])
    assert (later.seat_count(), later.status(change_id)) == (2, "cancelled")


def test_the_terms_may_change_at_the_same_moment(later: Later, engine_url: str) -> None:
    later.scheduled(10, {"seatCount": 5})

    def rename() -> None:
        assert later.call("PATCH", "", {"sku": "at-once"})[0] == 200

    assert later.run(11, _interrupted(later, engine_url, rename))["applied"] == 1
    entitlement = later.call("GET")[1]
    assert (entitlement["seatCount"], entitlement["sku"]) == (5, "at-once")


def test_what_dynamodb_does_not_answer_is_tried_for_a_day(
    later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_id = later.scheduled(10, {"seatCount": 5})
    other = later.scheduled(12, {"sku": "other"})

    def never(_: Any) -> Any:
        raise Unavailable("throttled")
        yield

    with monkeypatch.context() as broken:
        broken.setattr("functions.manage.entitlements.apply_patch", never)
        assert later.run(13) == {"applied": 0, "failed": 0, "late": 2}
        assert {later.status(change_id), later.status(other)} == {"pending"}
        assert later.run(1_440 + 11)["failed"] == 1
    assert later.status(change_id) == "failed"
    assert later.run(1_440 + 11)["applied"] == 1
    assert later.status(other) == "applied"
