"""The due date of a follow-up through the API."""

from typing import Any

import pytest

from shared.clock import now_ms, to_rfc3339
from shared.dynamodb.keys import follow_up_key
from shared.dynamodb.requests import Update
from tests.unit.conftest import Api

ROUTE = "{} /v1/entitlements/{{entitlementId}}/follow-up"
DAY = 86_400_000


def patch(api: Api, entitlement_id: str, body: Any) -> tuple[int, Any]:
    status, answer, _ = api.call(ROUTE.format("PATCH"), {"entitlementId": entitlement_id}, body)
    return status, answer


def test_a_due_date_is_set_moved_and_cleared(api: Api) -> None:
    entitlement_id = api.create()
    first, second = (to_rfc3339((now_ms() // 1000 + n * 86_400) * 1000) for n in (1, 2))
    for given, shown in ((first, first), (second, second), (None, None)):
        status, answer = patch(api, entitlement_id, {"dueAt": given})
        assert (status, answer["dueAt"]) == (200, shown)
    status, answer = patch(api, entitlement_id, {"dueAt": first, "state": "quoted"})
    assert (answer["state"], answer["dueAt"]) == ("quoted", first)
    status, answer = patch(api, entitlement_id, {"state": "won"})
    assert (answer["state"], answer["dueAt"]) == ("won", None)
    path = {"entitlementId": entitlement_id}
    changes = api.call("GET /v1/entitlements/{entitlementId}/changes", path)[1]["items"]
    moved = [each["changes"] for each in changes if each["type"] == "follow_up.updated"]
    assert moved[-1] == {"dueAt": {"before": None, "after": first}}
    # Sent back as it was read: nothing changes.
    items = api.call(ROUTE.format("GET") + "/entries", path)[1]["items"]
    assert [each["dueAt"] for each in items] == [None, first, None, second, first]


@pytest.mark.parametrize(
    "body",
    [
        {"dueAt": to_rfc3339(now_ms() - DAY)},
        {"dueAt": "soon"},
        {"dueAt": to_rfc3339(now_ms() + DAY), "state": "won"},
    ],
)
def test_a_date_that_makes_no_sense_is_refused(api: Api, body: Any) -> None:
    entitlement_id = api.create()
    status, answer = patch(api, entitlement_id, body)
    assert (status, answer["errors"][0]["pointer"]) == (400, "/dueAt")
    assert patch(api, entitlement_id, {})[1]["state"] is None


def test_follow_ups_are_listed_by_state_and_by_what_is_due(api: Api) -> None:
    ids = [api.create(customer={"name": f"Customer {number}"}) for number in range(3)]
    tomorrow = to_rfc3339(now_ms() + DAY)
    for each in ids:
        assert patch(api, each, {"note": "call", "dueAt": tomorrow})[0] == 200
    patch(api, ids[1], {"state": "quoted"})

    def listed(**query: str) -> list[str]:
        answer = api.call("GET /v1/follow-ups", query=query)[1]
        return [each["entitlement"]["customer"]["name"] for each in answer["items"]]

    assert listed() == ["Customer 2", "Customer 0"]
    assert listed(state="quoted") == ["Customer 1"]
    assert listed(state="quoted", due="true") == []
    assert listed(state="quoted", due="false") == ["Customer 1"]
    # The day has come: the time of the request decides, whoever was reminded.
    key = follow_up_key(ids[1])
    api.dynamodb.execute(Update(key, "SET dueAt = :at", "", {}, {":at": now_ms() - 1}))
    assert listed(state="quoted", due="true") == ["Customer 1"]
    assert listed(state="quoted", due="false") == []
    # Moved: it is in one list at a time, the last changed first.
    patch(api, ids[0], {"state": "quoted"})
    assert listed() == ["Customer 2"]
    assert listed(state="quoted") == ["Customer 0", "Customer 1"]
    assert api.call("GET /v1/follow-ups", query={"state": "lost"})[0] == 400
