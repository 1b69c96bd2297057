"""Entitlements that are searched for or ranked, however old what is stored for it may be."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from functions.manage.entitlement_search import found_by_words
from functions.notify import lockstep, search_index
from functions.release.search_backfill import Backfill
from shared.api.pagination import MAX_LIMIT
from shared.clock import now_ms
from shared.dynamodb.keys import (
    customer_key,
    denial_key,
    entitlement_key,
    follow_up_key,
    overdraft_key,
    person_key,
    search_progress_key,
    seat_record_key,
    word_key,
)
from shared.dynamodb.requests import NO_NAMES, Get, Put, Query, Update
from shared.entitlements.search import FOLLOWED_AFTER_MS, SEARCH_FORM
from shared.history import rankings
from shared.history.buckets import month_name
from shared.seats.encoding import seat_key
from tests.support.tables import read_item, this_thread_as
from tests.unit.conftest import Api

ROUTE = "GET /v1/entitlements"
E = "/v1/entitlements/{entitlementId}"


def listed(api: Api, **query: str) -> list[str]:
    status, answer, _ = api.call(ROUTE, query=query)
    assert status == 200, answer
    return [each["entitlementId"] for each in answer["items"]]


def index(api: Api, entitlement_id: str) -> None:
    with this_thread_as("NotifyRole"):
        work = search_index.write_words(entitlement_id, [])
        assert lockstep.run(api.dynamodb, [work], at_once=1) == [None]


def test_names_that_have_changed_since_find_nothing(api: Api) -> None:
    """The words of the earlier name are still stored: the stream has not been read."""
    entitlement_id = api.create(customer={"name": "Globex"})
    index(api, entitlement_id)
    assert listed(api, search="GLÓB") == [entitlement_id]
    path = {"entitlementId": entitlement_id}
    status, _, _ = api.call(f"PATCH {E}", path, {"customer": {"name": "Initech"}})
    assert status == 200
    assert listed(api, search="glob") == []


def test_filters_go_with_a_search(api: Api) -> None:
    first, second = api.create(), api.create(status="suspended")
    for each in (first, second):
        index(api, each)
    assert sorted(listed(api, search="p")) == sorted([first, second])
    assert listed(api, search="p", status="suspended") == [second]
    api.call(f"DELETE {E}", {"entitlementId": first})
    assert listed(api, search="p") == [second]
    assert listed(api, search="p", status="deleted") == [first]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"search": "a", "sort": "denials"}, "/sort"),
        ({"search": "a", "seatId": "b"}, "/seatId"),
        ({"overdraft": "true", "search": "b"}, "/search"),
        ({"search": " - "}, "/search"),
        ({"month": "2026-11"}, "/month"),
        ({"sort": "renewal", "month": "2026-11"}, "/month"),
        ({"sort": "denials", "month": "November"}, "/month"),
        ({"sort": "name"}, "/sort"),
        ({"seatId": ""}, "/seatId"),
        ({"search": ""}, "/search"),
    ],
    ids=str,
)
def test_what_cannot_be_searched_is_refused(api: Api, query: dict[str, str], pointer: str) -> None:
    status, answer, _ = api.call(ROUTE, query=query)
    assert status == 400, answer
    assert answer["errors"][0]["pointer"] == pointer


def test_many_equal_places_in_a_ranking_are_each_listed_once(api: Api) -> None:
    ids = [api.create() for _ in range(9)]
    for each in ids:
        api.dynamodb.execute(rankings.denied(each, now_ms(), 1))
    found, query = list[str](), {"sort": "denials", "limit": "2"}
    while True:
        _, page, _ = api.call(ROUTE, query=query)
        found += [each["entitlementId"] for each in page["items"]]
        assert [each["ranking"]["deniedAttempts"] for each in page["items"]] == [1] * len(
            page["items"]
        )
        if page["nextPageToken"] is None:
            break
        query["pageToken"] = page["nextPageToken"]
    assert sorted(found) == sorted(ids)


def test_a_ranking_is_of_its_month(api: Api) -> None:
    entitlement_id, now = api.create(), now_ms()
    month = month_name(now)
    before = month_name(now - 40 * 86_400_000)
    api.dynamodb.execute(rankings.overdrawn(entitlement_id, before, 20))
    api.dynamodb.execute(rankings.overdrawn(entitlement_id, before, 15))  # not the highest
    assert listed(api, sort="overdraft") == []
    _, page, _ = api.call(ROUTE, query={"sort": "overdraft", "month": before})
    assert [each["ranking"] for each in page["items"]] == [
        {"overdraftPercent": 20, "deniedAttempts": None, "deniedToday": None}
    ]
    # It goes on, without a change in this month: in no place, but listed.
    api.dynamodb.execute(Put(overdraft_key(entitlement_id), {"since": 1}))
    _, page, _ = api.call(ROUTE, query={"sort": "overdraft", "month": month})
    [item] = page["items"]
    assert (item["entitlementId"], item["ranking"]) == (entitlement_id, None)


def denial(api: Api, entitlement_id: str, seat_id: str) -> tuple[Any, Any]:
    """A denied attempt, and what makes its person findable, begun."""
    take = f"POST {E}/activations"
    status, answer, _ = api.call(take, {"entitlementId": entitlement_id}, {"seatId": seat_id})
    assert status == 409, answer
    path = {"entitlementId": entitlement_id}
    _, found, _ = api.call(f"GET {E}/denials", path, query={"seatId": seat_id})
    hour = found["items"][0]["hour"][:13]
    key = denial_key(entitlement_id, seat_key(entitlement_id, seat_id), hour)
    return key, read_item(api.dynamodb, key)


def test_one_who_is_erased_while_the_stream_tells_of_a_denial_is_not_found(api: Api) -> None:
    entitlement_id = api.create(seatCount=0)
    for stop_after in range(3):
        person = f"mallory{stop_after}"
        key, item = denial(api, entitlement_id, person)
        work = search_index.write_denied(entitlement_id, key, item)
        reply, steps = None, 0
        erased = False
        with this_thread_as("NotifyRole"):
            while True:
                if steps == stop_after and not erased:
                    with this_thread_as("EntitlementsRole"):
                        body = {"seatId": person}
                        status, _, _ = api.call(
                            f"POST {E}/seats/erase", {"entitlementId": entitlement_id}, body
                        )
                    assert status == 200
                    erased = True
                try:
                    request = work.send(reply)
                except StopIteration:
                    break
                reply, steps = api.dynamodb.execute(request), steps + 1
        if not erased:
            api.call(f"POST {E}/seats/erase", {"entitlementId": entitlement_id}, {"seatId": person})
        assert api.dynamodb.execute(Get(person_key(person, entitlement_id))) is None
        record = read_item(
            api.dynamodb, seat_record_key(entitlement_id, seat_key(entitlement_id, person))
        )
        assert "person" not in record
        assert listed(api, seatId=person) == []


def test_entitlements_of_an_earlier_release_become_searchable(api: Api) -> None:
    ids = [api.create() for _ in range(5)]
    for each in ids:
        api.dynamodb.execute(Update(entitlement_key(each), "REMOVE searchForm", "", NO_NAMES, {}))
    fresh = api.create()
    backfill = Backfill()
    with this_thread_as("ReleaseRole"):
        assert backfill.run(api.dynamodb, now_ms() + 60_000) == 5
        assert backfill.run(api.dynamodb, now_ms() + 60_000) == 0
        assert Backfill().run(api.dynamodb, now_ms() + 60_000) == 0
    for each in (*ids, fresh):
        assert read_item(api.dynamodb, entitlement_key(each))["searchForm"] == SEARCH_FORM
    assert "start" not in read_item(api.dynamodb, search_progress_key())


def test_follow_ups_of_an_earlier_release_become_listed(api: Api) -> None:
    route = "GET /v1/follow-ups"
    ids = [api.create() for _ in range(3)]
    for each in ids[:2]:
        path = {"entitlementId": each}
        assert api.call(f"PATCH {E}/follow-up", path, {"state": "quoted"})[0] == 200
    was = read_item(api.dynamodb, follow_up_key(ids[0]))
    for key in (*map(follow_up_key, ids[:2]), *map(entitlement_key, ids)):
        if api.dynamodb.execute(Get(key)):
            names = "searchForm" if key in map(entitlement_key, ids) else "listKey, listSort"
            api.dynamodb.execute(Update(key, f"REMOVE {names}", "", NO_NAMES, {}))
    assert api.call(route, query={"state": "quoted"})[1]["items"] == []
    with this_thread_as("ReleaseRole"):
        Backfill().run(api.dynamodb, now_ms() + 60_000)
    found = api.call(route, query={"state": "quoted"})[1]["items"]
    assert {each["entitlement"]["entitlementId"] for each in found} == set(ids[:2])
    assert read_item(api.dynamodb, follow_up_key(ids[0])) == was


def test_a_word_is_stored_for_each_name_and_only_for_those(api: Api) -> None:
    entitlement_id = api.create(customer={"name": "Globex", "externalId": "4711"})
    index(api, entitlement_id)
    for word in ("globex", "4711", "p"):
        assert api.dynamodb.execute(Get(word_key(word, entitlement_id))) is not None


# --- By customer ----------------------------------------------------------------------------------


@pytest.fixture
def many(api: Api) -> list[str]:
    """More entitlements than are read from the list, of other customers."""
    ids = [api.create(customer={"name": f"Other {number}"}) for number in range(MAX_LIMIT)]
    all_are_findable(api)
    return ids


def all_are_findable(api: Api) -> None:
    """The backfill has come to its end, long enough ago."""
    with this_thread_as("ReleaseRole"):
        Backfill().run(api.dynamodb, now_ms() + 60_000)
    key = search_progress_key()
    item = read_item(api.dynamodb, key)
    marked_at = item["markedAt"] - FOLLOWED_AFTER_MS
    api.dynamodb.execute(Put(key, {"form": item["form"], "markedAt": marked_at}))


def pages(api: Api, **query: str) -> list[list[str]]:
    """The ids of every page of a list."""
    found = list[list[str]]()
    token: str | None = None
    while True:
        more = {"pageToken": token} if token else {}
        status, answer, _ = api.call(ROUTE, query=query | more)
        assert status == 200, answer
        found.append([each["entitlementId"] for each in answer["items"]])
        token = answer["nextPageToken"]
        if token is None:
            return found


def whole(found: list[list[str]]) -> list[str]:
    return [each for page in found for each in page]


def test_a_customer_is_found_among_many_newest_first(api: Api) -> None:
    customer = {"name": "Globex", "externalId": "4711"}
    old = [api.create(customer=customer) for _ in range(3)]
    for each in old:
        index(api, each)
    for number in range(MAX_LIMIT):
        api.create(customer={"name": f"Other {number}"})
    # The stream has not been read for these yet.
    new = [api.create(customer=customer) for _ in range(3)]
    all_are_findable(api)
    newest_first = [*reversed(new), *reversed(old)]
    for name in ("Globex", "4711"):
        assert listed(api, customer=name) == newest_first
        assert whole(pages(api, customer=name, limit="1")) == newest_first
    index(api, new[1])
    assert listed(api, customer="Globex") == newest_first
    assert listed(api, customer="Glob") == []
    api.call(f"PATCH {E}", {"entitlementId": old[0]}, {"status": "suspended"})
    assert listed(api, customer="Globex", status="suspended") == [old[0]]
    assert listed(api, customer="Globex", overdraft="true") == []


def test_a_customer_has_more_than_a_page(api: Api) -> None:
    ids = [api.create(customer={"name": "Globex"}) for _ in range(MAX_LIMIT + 20)]
    for each in ids:
        index(api, each)
    all_are_findable(api)
    found = pages(api, customer="Globex", limit="70")
    assert [len(page) for page in found] == [70, 50]
    assert whole(found) == ids[::-1]


def test_until_all_have_their_place_the_whole_list_is_read(api: Api) -> None:
    old = api.create(customer={"name": "Globex"})  # without an item of its customer
    for number in range(MAX_LIMIT):
        api.create(customer={"name": f"Other {number}"})
    assert listed(api, customer="Globex") == [old]
    all_are_findable(api)
    assert listed(api, customer="Globex") == [], "it would be missing"
    marked_now = {"form": SEARCH_FORM, "markedAt": now_ms()}
    api.dynamodb.execute(Put(search_progress_key(), marked_now))
    assert listed(api, customer="Globex") == [old], "the stream may not have followed"
    api.dynamodb.execute(Put(search_progress_key(), {"form": SEARCH_FORM - 1}))
    assert listed(api, customer="Globex") == [old]
    api.dynamodb.execute(
        Put(search_progress_key(), {"form": SEARCH_FORM, "start": ["a", "b", "c"]})
    )
    assert whole(pages(api, customer="Globex", limit="1")) == [old]


def test_a_customer_s_earlier_name_finds_nothing(api: Api, many: list[str]) -> None:
    entitlement_id = many[0]
    index(api, entitlement_id)
    before = read_item(api.dynamodb, entitlement_key(entitlement_id))
    api.call(f"PATCH {E}", {"entitlementId": entitlement_id}, {"customer": {"name": "Initech"}})
    api.create()  # so that the list's newest do not have it
    assert listed(api, customer="Other 0") == []
    old_key = customer_key("Other 0", before["listSort"])
    assert api.dynamodb.execute(Get(old_key)) is not None
    with this_thread_as("NotifyRole"):
        work = search_index.write_words(entitlement_id, [changed(before)])
        assert lockstep.run(api.dynamodb, [work], at_once=1) == [None]
    assert api.dynamodb.execute(Get(old_key)) is None
    assert listed(api, customer="Initech") == [entitlement_id]


def changed(before: dict[str, Any]) -> Any:
    """A record of the stream, as far as the search looks at it."""
    return SimpleNamespace(old=before, new=None)


# --- Several words --------------------------------------------------------------------------------


@contextmanager
def words_read(api: Api) -> Iterator[list[str]]:
    """The words by which it is read, query by query."""
    reads = list[str]()
    execute = api.dynamodb.execute

    def count(request: Any) -> Any:
        if isinstance(request, Query):
            reads.append(str(request.values.get(":word")))
        return execute(request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api.dynamodb, "execute", count)
        yield reads


def test_a_search_reads_by_the_word_that_few_have(api: Api, many: list[str]) -> None:
    rare = [api.create(customer={"name": "Customers rare"}) for _ in range(3)]
    common = [api.create(customer={"name": f"Customers {number}"}) for number in range(MAX_LIMIT)]
    for each in (*rare, *common):
        index(api, each)
    with words_read(api) as reads:
        assert sorted(listed(api, search="customers rare")) == sorted(rare)
    assert reads == ["customers", "rare"]
    found = pages(api, search="rare customers", limit="2")
    assert [len(page) for page in found] == [2, 1]
    # Many have either word, and all that have the longer one have the other: it is read by that.
    found = pages(api, search="p customers", limit="60")
    assert sorted(whole(found)) == sorted([*rare, *common])


def test_of_two_words_of_many_the_one_is_read_whose_entitlements_have_the_other(
    api: Api,
) -> None:
    several = MAX_LIMIT + 10
    both = [api.create(customer={"name": "Zed Holding"}) for _ in range(several)]
    others = [api.create(customer={"name": "Other Holding"}) for _ in range(several)]
    for each in (*both, *others):
        index(api, each)
    with words_read(api) as reads:
        assert sorted(whole(pages(api, search="zed holding", limit="100"))) == sorted(both)
    assert reads == ["holding", "zed", "zed"]


# --- Tokens of an earlier release -----------------------------------------------------------------


def test_positions_of_an_earlier_release_go_on(api: Api) -> None:
    ids = sorted(api.create(customer={"name": "Globex", "externalId": "4711"}) for _ in range(3))
    for each in ids:
        index(api, each)
    found = api.dynamodb.run(found_by_words(["glob"], [f"globex#{ids[0]}"]))
    assert [each.entitlement_id for each in found.found] == ids[1:]
