"""Finding entitlements by words, a customer, a person, or their place in a ranking.

What is read here may be a moment old. Whoever lists candidates reads the entitlements themselves.
"""

import heapq
from typing import NamedTuple

from shared.api.pagination import MAX_LIMIT
from shared.dynamodb.keys import (
    RANK_PREFIX,
    SWEEP_INDEX,
    customer_key,
    overdraft_key,
    parse_candidate,
    person_key,
    rank_key,
    ranking_partitions,
    word_key,
    word_of,
)
from shared.dynamodb.requests import BatchGet, Found, Item, Operation, Query, send
from shared.entitlements.search import RENEWAL, is_found_by
from shared.entitlements.views import RankingView
from shared.history.buckets import month_name
from shared.history.rankings import DENIALS, OVERDRAFT, ranking_of

# The rankings of a month.
MONTHLY = (OVERDRAFT, DENIALS)
# The most words of a search that are looked at.
MAX_SEARCHED = 8
_MARKS = "marks"  # begins the positions among the marks of what is in overdraft now


class Candidate(NamedTuple):
    """An entitlement that may be listed, and where the list goes on after it."""

    entitlement_id: str
    position: list[str]
    item: Item | None = None  # if it has been read already
    ranking: RankingView | None = None


class Candidates(NamedTuple):
    """Some candidates, in the order of the list, and where to look for more; None: nowhere."""

    found: list[Candidate]
    next: list[str] | None


def found_by_words(wanted: list[str], start: list[str] | None) -> Operation[Candidates]:
    """The entitlements that have words with each of these beginnings.

    They are read by one of the words, so that a common one does not make the search long.
    """
    if start:
        # A token of an earlier release has no word: it read by the longest.
        position, chosen = start if len(start) > 1 else (start[0], max(wanted, key=len))
        found = yield from _with_word(chosen, position)
    else:
        chosen, found = yield from _rarest(wanted)
    candidates = []
    for item in found.items:
        word, entitlement_id = word_of(item["sk"])
        words = item["text"].split(" ")
        # With several words that fit, the entitlement is listed by the first.
        first = min(each for each in words if each.startswith(chosen))
        if word == first and is_found_by(words, wanted):
            candidates.append(Candidate(entitlement_id, [item["sk"], chosen]))
    return Candidates(candidates, [str(found.next["sk"]), chosen] if found.next else None)


def _rarest(wanted: list[str]) -> Operation[tuple[str, Found]]:
    """The word by which to read: one that few have, or among whose first most have the others."""
    best: tuple[int, str, Found] | None = None
    for word in sorted(wanted, key=len, reverse=True):
        found = yield from _with_word(word)
        if found.next is None or len(wanted) == 1:
            return word, found
        fitting = sum(is_found_by(item["text"].split(" "), wanted) for item in found.items)
        if best is None or fitting > best[0]:
            best = fitting, word, found
    assert best is not None  # at least one word is wanted
    return best[1:]


def _with_word(beginning: str, position: str | None = None) -> Operation[Found]:
    return (yield from _some_of(word_key(beginning).pk, position, beginning))


def _some_of(
    pk: str, position: str | None, beginning: str = "", *, descending: bool = False
) -> Operation[Found]:
    """Some of a partition, those whose sort keys have a beginning, after a position."""
    condition, values = "pk = :pk", {":pk": pk}
    if beginning:
        condition, values = (
            f"{condition} AND begins_with(sk, :word)",
            {**values, ":word": beginning},
        )
    start = {"pk": pk, "sk": position} if position else None
    query = Query(condition, values, limit=MAX_LIMIT, start=start, descending=descending)
    return (yield from send(query))


def found_by_customer(customer: str, start: list[str] | None) -> Operation[Candidates]:
    """The entitlements of the customer with this exact name or `externalId`, newest first."""
    position = start[0] if start else None
    found = yield from _some_of(customer_key(customer).pk, position, descending=True)
    places = [str(item["sk"]) for item in found.items]
    return Candidates(
        [Candidate(place.partition("#")[2], [place]) for place in places],
        [str(found.next["sk"])] if found.next else None,
    )


def found_by_person(seat_id: str, start: list[str] | None) -> Operation[Candidates]:
    """The entitlements of which somebody with this exact id held a seat, or was denied one."""
    found = yield from _some_of(person_key(seat_id).pk, start[0] if start else None)
    return Candidates(
        [Candidate(item["sk"], [item["sk"]]) for item in found.items],
        [str(found.next["sk"])] if found.next else None,
    )


def ranked(kind: str, month: str, now: int, start: list[str] | None) -> Operation[Candidates]:
    """The entitlements of a ranking: the highest first, renewals from `now` on, the next first.

    An overdraft that has not changed since the month began has no place in the ranking of the
    present month. Such entitlements come last.
    """
    has_marks = kind == OVERDRAFT and month == month_name(now * 1000)
    if start and start[0] == _MARKS:
        return (yield from _unranked(month, start[1:]))
    ranking = ranking_of(kind, month) if kind in MONTHLY else kind
    candidates, following = yield from _merged(ranking, now, start)
    if following is None and has_marks:
        following = [_MARKS]
    return Candidates(candidates, following)


def _merged(
    ranking: str, now: int, start: list[str] | None
) -> Operation[tuple[list[Candidate], list[str] | None]]:
    """Some of a ranking. A position has, for each partition, the last item that was taken."""
    is_renewal = ranking == RENEWAL
    partitions = ranking_partitions(ranking)
    taken = start or [""] * len(partitions)
    parts: list[list[tuple[int, int, str, Item]]] = []
    is_whole = True
    known_to = None  # every partition has been read up to this value
    sign = 1 if is_renewal else -1
    for number, partition in enumerate(partitions):
        found = yield from send(
            Query(
                "sweepKey = :list AND earliest >= :first",
                {":list": partition, ":first": now if is_renewal else 1},
                index_name=SWEEP_INDEX,
                limit=MAX_LIMIT,
                start=_start_of(taken[number], partition, ranking),
                descending=not is_renewal,
            )
        )
        parts.append([(sign * each["earliest"], number, each["pk"], each) for each in found.items])
        if found.next is not None:
            is_whole = False
            last = sign * found.items[-1]["earliest"]
            known_to = last if known_to is None else min(known_to, last)
    candidates = []
    for value, number, pk, item in heapq.merge(*parts, key=lambda each: each[:2]):
        if known_to is not None and value > known_to:
            break
        entitlement_id = pk.removeprefix(RANK_PREFIX)
        taken = [*taken]
        taken[number] = f"{item['earliest']}#{entitlement_id}"
        candidates.append(
            Candidate(entitlement_id, taken, ranking=ranking_view(ranking, item["earliest"]))
        )
    return candidates, None if is_whole else taken


def _start_of(taken: str, partition: str, ranking: str) -> Item | None:
    if not taken:
        return None
    value, _, entitlement_id = taken.partition("#")
    pk, sk = rank_key(entitlement_id, ranking)
    return {"pk": pk, "sk": sk, "sweepKey": partition, "earliest": int(value)}


def marked(start: list[str] | None) -> Operation[Candidates]:
    """The entitlements that are marked as in overdraft now."""
    pk = overdraft_key("").pk
    found = yield from send(
        Query(
            "pk = :pk",
            {":pk": pk},
            limit=MAX_LIMIT // 2,
            start={"pk": pk, "sk": start[0]} if start else None,
        )
    )
    # There is a mark for the seats and one for each usage limit; an entitlement's are adjacent.
    looked_at = parse_candidate(start[0])[0] if start else ""
    last = {parse_candidate(item["sk"])[0]: str(item["sk"]) for item in found.items}
    return Candidates(
        [Candidate(each, [last[each]]) for each in last if each != looked_at],
        [str(found.next["sk"])] if found.next else None,
    )


def _unranked(month: str, start: list[str]) -> Operation[Candidates]:
    """What is in overdraft now and has no place in the ranking of its month."""
    found, following = yield from marked(start or None)
    ranking = ranking_of(OVERDRAFT, month)
    keys = tuple(rank_key(each.entitlement_id, ranking) for each in found)
    ranks = (yield from send(BatchGet(keys))) if keys else {}
    return Candidates(
        [
            each._replace(position=[_MARKS, *each.position])
            for each, key in zip(found, keys, strict=True)
            if key not in ranks
        ],
        [_MARKS, *following] if following else None,
    )


def ranking_view(ranking: str, value: int) -> RankingView:
    """The value by which an entitlement has its place."""
    return {
        "overdraftPercent": value if ranking.startswith(OVERDRAFT) else None,
        "deniedAttempts": value if ranking.startswith(DENIALS) else None,
        "deniedToday": None,
    }
