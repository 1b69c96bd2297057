"""The due date of a follow-up through the API."""

from typing import Any

import pytest

from shared.clock import now_ms, to_rfc3339
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
