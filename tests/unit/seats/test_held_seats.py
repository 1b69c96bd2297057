"""Searching for holders by the beginning of their id, in an only shard and in a pool."""

import pytest

from shared.dynamodb.keys import holder_list, holder_sort, person_key
from shared.dynamodb.requests import Put
from shared.seats.encoding import seat_key
from shared.texts import folded
from tests.support.tables import RoleClient
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"
PEOPLE = [f"ann{number}@acme.com" for number in range(6)] + ["Änne@acme.com", "bob@acme.com"]


def listed(api: Api, entitlement_id: str, search: str, limit: int = 50) -> list[str]:
    """Everybody whom a search finds, page by page; here no stream names them."""
    names = {seat_key(entitlement_id, each): each for each in PEOPLE}
    found, query = list[str](), {"search": search, "limit": str(limit)}
    while True:
        path = {"entitlementId": entitlement_id}
        status, page, _ = api.call(f"GET {E}/activations", path, query=query)
        assert status == 200, page
        assert len(page["items"]) <= limit
        found += [names[each["seatKey"]] for each in page["items"]]
        if page["nextPageToken"] is None:
            return found
        query["pageToken"] = page["nextPageToken"]


@pytest.mark.parametrize("seat_count", [20, 2_000], ids=["only-shard", "pool"])
def test_holders_are_found_wherever_a_page_ends(api: Api, seat_count: int) -> None:
    entitlement_id = api.create(seatCount=seat_count)
    path = {"entitlementId": entitlement_id}
    held = {}
    for each in PEOPLE:
        status, taken, _ = api.call(f"POST {E}/activations", path, {"seatId": each})
        assert status == 201, taken
        held[each] = taken["activationId"]
        key = seat_key(entitlement_id, each)
        place = {
            "listKey": holder_list(entitlement_id),
            "listSort": holder_sort(folded(each), key),
        }
        api.dynamodb.execute(Put(person_key(each, entitlement_id), place))
    # Who has given the seat back is listed still, and holds none.
    gone = {**path, "activationId": held["ann3@acme.com"]}
    assert api.call(f"DELETE {E}/activations/{{activationId}}", gone)[0] == 204
    anns = [each for each in PEOPLE[:6] if each != "ann3@acme.com"]
    assert isinstance(api.dynamodb, RoleClient)
    for most, limit in ((None, 50), (1, 1), (1, 50), (3, 2)):
        api.dynamodb.most_a_page = most
        assert listed(api, entitlement_id, "ANN", limit) == [*anns, "Änne@acme.com"]
        assert listed(api, entitlement_id, "ann1", limit) == ["ann1@acme.com"]
        assert listed(api, entitlement_id, "ánne@", limit) == ["Änne@acme.com"]
        assert listed(api, entitlement_id, "nn", limit) == []
        assert listed(api, entitlement_id, "ann3", limit) == []
    api.dynamodb.most_a_page = None


def test_what_cannot_be_searched_for(api: Api) -> None:
    path = {"entitlementId": api.create()}
    for text in (" ", "\u0301"):
        status, answer, _ = api.call(f"GET {E}/activations", path, query={"search": text})
        assert (status, answer["errors"][0]["pointer"]) == (400, "/search")
