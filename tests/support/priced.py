"""An entitlement with prices, used through the API at any time, whose stream reaches history."""

import itertools
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from shared.api import app
from shared.clock import to_rfc3339
from shared.dynamodb import client as client_module
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import Key, seat_shard_key, usage_key
from shared.dynamodb.marshalling import to_wire
from shared.dynamodb.requests import Get, Item
from tests.support.notifier import Notifier
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"


def clock_of(monkeypatch: pytest.MonkeyPatch, now: int) -> dict[str, int]:
    """A clock of the API that tests set: its `now`, Unix milliseconds."""
    clock = {"now": now}
    monkeypatch.setattr(app, "now_ms", lambda: clock["now"])
    monkeypatch.setattr(client_module, "now_ms", lambda: clock["now"])
    return clock


class Step(NamedTuple):
    """From when on how much was in use, and purchased."""

    at: int
    used: int
    purchased: int


class Sold(NamedTuple):
    """From when on which price a meter had, and how long the entitlement was to be valid."""

    at: int
    price: dict[str, Any] | None
    until: int | None


class Priced:
    """An entitlement, used through the API, whose stream reaches history at once."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        clock: dict[str, int],
        begins: int,
        months: Sequence[int] = (),
        **terms: Any,
    ) -> None:
        """`months`: when months begin, for usage limits that begin anew with them."""
        self.dynamodb, self._clock, self.begins = dynamodb, clock, begins
        self._months = months
        self.is_held_back = False  # whether the stream is late
        self.api = Api(dynamodb)
        self._seen: dict[Key, Item | None] = {}
        self._held: dict[str, str] = {}
        self._numbers = itertools.count()
        self.until: int | None = terms.pop("until", None)
        self._bought = {"seats": terms["seatCount"]}
        self.limits = {each["key"]: each for each in terms.get("usageLimits", ())}
        self._bought |= {key: each["limit"] for key, each in self.limits.items()}
        self._used = dict.fromkeys(self._bought, 0)
        self._month = dict.fromkeys(self._bought, "")
        self.steps: dict[str, list[Step]] = {meter: [] for meter in self._bought}
        self.sold: dict[str, list[Sold]] = {meter: [] for meter in self._bought}
        self._prices = {"seats": terms.get("overdraftPrice")}
        self._prices |= {key: each.get("overdraftPrice") for key, each in self.limits.items()}
        clock["now"] = begins + 10_000
        body = {
            "timeZone": "Europe/Berlin",
            "validFrom": to_rfc3339(begins),
            "validUntil": None if self.until is None else to_rfc3339(self.until),
            **terms,
        }
        self.id = self.api.create(**body)
        self._note(0)
        self._deliver(begins + 10_000)

    def _note(self, at: int) -> None:
        for meter, price in self._prices.items():
            self.sold[meter].append(Sold(at, price, self.until))
            self.steps[meter].append(Step(at, self._used[meter], self._bought[meter]))

    def call(self, at: int, route: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        self._clock["now"] = at
        key, credential = more.pop("key", None), more.pop("credential", None)
        if credential:
            more["key"] = credential
        path = {"entitlementId": self.id, **({"key": key} if key else {}), **more.pop("path", {})}
        status, answer, _ = self.api.call(route, path, body, **more)
        if not self.is_held_back:
            self._deliver(at)
        return status, answer

    def _deliver(self, at: int) -> None:
        keys = [seat_shard_key(self.id), *(usage_key(self.id, key) for key in self.limits)]
        records = []
        for key in keys:
            new, old = self.dynamodb.execute(Get(key)), self._seen.get(key)
            assert new is not None
            if new == old:
                continue
            self._seen[key] = dict(new)
            images = {"NewImage": new, **({"OldImage": old} if old else {})}
            wired = {n: {k: to_wire(v) for k, v in i.items()} for n, i in images.items()}
            keyed = {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
            number = str(next(self._numbers))
            records.append({"dynamodb": {"Keys": keyed, "SequenceNumber": number, **wired}})
        if records:
            Notifier(self.dynamodb, now_ms=at).deliver_all(records)

    def take(self, at: int, name: str) -> None:
        status, answer = self.call(at, f"POST {E}/activations", {"seatId": name})
        if status == 201:
            self._held[name] = answer["activationId"]
            self._counted("seats", at, answer["seats"]["used"])

    def release(self, at: int, name: str) -> None:
        path = {"activationId": self._held.pop(name)}
        status, _ = self.call(at, f"DELETE {E}/activations/{{activationId}}", path=path)
        assert status == 204
        self._counted("seats", at, self._used["seats"] - 1)

    def consume(self, at: int, key: str, quantity: int) -> None:
        headers = {"idempotency-key": f"use-{next(self._numbers)}"}
        route = f"POST {E}/usage/{{key}}"
        status, answer = self.call(at, route, {"quantity": quantity}, key=key, headers=headers)
        if status == 200:
            self._counted(key, at, answer["usage"]["used"])

    def correct(self, at: int, key: str, quantity: int) -> None:
        body = {"quantity": quantity, "reason": "counted twice"}
        status, answer = self.call(at, f"POST {E}/usage/{{key}}/corrections", body, key=key)
        if status == 201:
            self._counted(key, at, answer["usage"]["used"])

    def _counted(self, meter: str, at: int, used: int) -> None:
        self._used[meter] = used
        self.steps[meter].append(Step(at, used, self._bought[meter]))

    def change(self, at: int, **patch: Any) -> None:
        """New terms: a price of the seats, seats, an end, or limits with new numbers or prices."""
        for each in patch.get("usageLimits", ()):
            self.limits[each["key"]] = each
            self._bought[each["key"]] = each["limit"]
            self._prices[each["key"]] = each.get("overdraftPrice")
        self._bought["seats"] = patch.get("seatCount", self._bought["seats"])
        self._prices["seats"] = patch.get("overdraftPrice", self._prices["seats"])
        if "until" in patch:
            self.until = patch.pop("until")
            patch["validUntil"] = to_rfc3339(self.until) if self.until is not None else None
        for meter in self.limits:
            if at >= self._reset(meter, at):
                self._used[meter] = 0
        status, answer = self.call(at, f"PATCH {E}", patch)
        assert status == 200, answer
        self._note(at)

    def _reset(self, meter: str, at: int) -> int:
        """When the present period of a monthly limit began, if nothing was used in it."""
        if self.limits[meter]["resetSchedule"] != "monthly":
            return at + 1
        start = max(begin for begin in self._months if begin <= at)
        return start if self.steps[meter][-1].at < start else at + 1

    def live(self, chance: random.Random, start: int, end: int, events: int) -> None:
        """A stretch of use at random times. More and more people use it."""
        people = [f"u{number}" for number in range(4 + (start - self.begins) // 864_000_000)]
        times = sorted(chance.sample(range(start // 1000, end // 1000), events))
        for second in times:
            at = second * 1000 + chance.randrange(1000)
            what = chance.random()
            if self.limits and what < 0.4:
                self.consume(at, chance.choice(sorted(self.limits)), chance.randint(1, 9))
            elif self.limits and what < 0.45:
                self.correct(at, chance.choice(sorted(self.limits)), -chance.randint(1, 4))
            elif self._held and (chance.random() < 0.4 or len(self._held) == len(people)):
                self.release(at, chance.choice(sorted(self._held)))
            else:
                self.take(at, chance.choice([each for each in people if each not in self._held]))

    def true_up(self, at: int, period: str, **more: Any) -> dict[str, Any]:
        status, answer = self.call(at, f"GET {E}/true-up", query={"period": period}, **more)
        assert status == 200, answer
        return dict(answer)
