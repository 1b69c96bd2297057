"""Making the entitlements of earlier releases searchable, some of them every minute.

An entitlement that is marked appears in the stream, and `notify` writes the words by which it is
found. Its follow-up gets its place in the list of those of its state.
"""

from shared import clock
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import entitlement_key, follow_up_key, search_progress_key
from shared.dynamodb.paging import list_query, position_of
from shared.dynamodb.patterns import write_with_conflict_retry
from shared.dynamodb.requests import NO_NAMES, Get, Item, Operation, Put, Update, send
from shared.entitlements.model import LIST_KEY
from shared.entitlements.search import SEARCH_FORM, is_marked
from shared.sales import follow_up

PAGE = 100
AT_ONCE = 1_000  # in one run


class Backfill:
    """Remembers that everything is done, so that it is not read again every minute."""

    def __init__(self) -> None:
        self._is_done = False

    def run(self, dynamodb: DynamoDBClient, deadline_ms: int) -> int:
        """Mark entitlements until `deadline_ms` (Unix milliseconds); return their number."""
        marked = 0
        while not self._is_done and marked < AT_ONCE and clock.now_ms() < deadline_ms:
            marked += dynamodb.run(self._page())
        return marked

    def _page(self) -> Operation[int]:
        progress = yield from send(Get(search_progress_key()))
        if is_marked(progress):
            self._is_done = True
            return 0
        start = progress.get("start") if progress and progress["form"] == SEARCH_FORM else None
        found = yield from send(list_query(LIST_KEY, PAGE, start))
        marked = 0
        for item in found.items:
            if item.get("searchForm", 0) < SEARCH_FORM:
                # First: what is marked is not looked at again.
                yield from _list_follow_up(item["entitlementId"])
                yield from write_with_conflict_retry(
                    Update(
                        entitlement_key(item["entitlementId"]),
                        "SET searchForm = :form",
                        "attribute_exists(pk)",
                        NO_NAMES,
                        {":form": SEARCH_FORM},
                    )
                )
                marked += 1
        following: Item = {"markedAt": clock.now_ms()}
        if found.next:
            following = {"start": position_of(found.next)}
        yield from send(Put(search_progress_key(), {"form": SEARCH_FORM, **following}))
        return marked


def _list_follow_up(entitlement_id: str) -> Operation[None]:
    """Give the follow-up of an earlier release its place in the list. A change gives it one too."""
    key = follow_up_key(entitlement_id)
    item = yield from send(Get(key))
    if item is None or "listKey" in item:
        return
    place = follow_up.listed(entitlement_id, item["state"], item["changedAt"])
    yield from write_with_conflict_retry(
        Update(
            key,
            "SET listKey = :list, listSort = :sort",
            "version = :seen",
            NO_NAMES,
            {":list": place["listKey"], ":sort": place["listSort"], ":seen": item["version"]},
        )
    )
