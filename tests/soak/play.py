"""A story is played: actors call the product until they have an answer, and all is checked."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from math import inf
from typing import Any, NamedTuple

import overdraft
import pytest

from shared.api.routes import ROUTES
from shared.dynamodb.keys import SEATS
from shared.seats.encoding import parse_activation_id, seat_key
from shared.usage import sharded
from tests.soak.calling import MOST_TRIES, through_client
from tests.soak.checks import Checks, Seats, Usage
from tests.soak.product import Product
from tests.soak.recount import check_evidence
from tests.soak.story import Step, Story
from tests.soak.world import SECOND, Plan, World
from tests.support.patching import patch_constant
from tests.support.requests import event

E = "/v1/entitlements"
LATE = 0.15  # the share of releases that name the first activation of a person, not the last
FAULTY_TRIES = 6  # after so many, a request meets no more faults of its own
SETTLES = 60  # rounds of the schedules at the end, at most
SETTLES_AT_LEAST = 3  # until shards of usage limits have reported what was used
ANSWERED = frozenset({200, 201, 202, 204, 400, 403, 404, 409, 410, 422})


class Sold(NamedTuple):
    """An entitlement of the story, and the key with which its software calls."""

    id: str
    key: str
    terms: dict[str, Any]
    seats: Seats


class Outcome(NamedTuple):
    """How stories ended: invocations of functions, how many of them met a fault, by kind; the faults;
    and the answers, by operation and status.
    """

    operations: int
    faulted: int
    kinds: Counter[str]
    met: Counter[str]
    answers: Counter[str]

    @classmethod
    def none(cls) -> "Outcome":
        """Of no story."""
        return cls(0, 0, Counter(), Counter(), Counter())

    def plus(self, other: "Outcome") -> "Outcome":
        """Of both."""
        return Outcome(
            self.operations + other.operations,
            self.faulted + other.faulted,
            self.kinds + other.kinds,
            self.met + other.met,
            self.answers + other.answers,
        )


@contextmanager
def small_sizes() -> Iterator[None]:
    """Small shards, so that a few seats are a pool; few shards of usage limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch_constant(patch, "shared.seats", "SHARD_MEAN_SEATS", 6)
        patch_constant(patch, "shared.seats", "SHARD_SEATS", 8)
        patch_constant(patch, "shared.usage", "SHARDS", 4)
        yield


def cap_of(seat_count: int, overdraft: dict[str, Any]) -> float:
    """The hard cap of so many seats."""
    return inf if overdraft["type"] == "unlimited" else seat_count + int(overdraft["value"])


class Play:
    """One story in one world."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.world = World(story.seed, story.start_ms, lag=story.lag)
        self.product = Product(self.world, rate=0.0, skew=story.skew)
        self.checks = Checks(self.world)
        self.sold: list[Sold] = []
        self.activations: dict[tuple[int, str], list[str]] = defaultdict(list)
        self.acting = 0
        self.answers: Counter[str] = Counter()
        self.ended: Outcome | None = None

    def run(self) -> Outcome:
        """Play it to its end.

        Raises:
            Violation: something is not as it must be.
        """
        with self.world.in_force(), self.product.in_force():
            try:
                self.world.spawn(self._conduct)
                self.world.run(lambda: self.ended is not None)
            finally:
                self.world.stop()
        assert self.ended is not None
        return self.ended

    def _conduct(self) -> None:
        self.product.start()
        for number, terms in enumerate(deepcopy(self.story.terms)):
            self.sold.append(self._sell(number, terms))
        self._add_webhook()
        self.product.rate = self.story.rate
        by_actor: dict[str, list[Step]] = defaultdict(list)
        for step in self.story.steps:
            by_actor[step.actor].append(step)
        begin = self.world.now
        self.acting = len(by_actor)
        for steps in by_actor.values():
            self.world.spawn(lambda steps=steps: self._act(steps, begin))  # type: ignore[misc]
        while self.acting:
            self.world.sleep(5)
        self._settle()
        check_evidence(self)
        world = self.world
        self.ended = Outcome(world.operations, world.faulted, world.kinds, world.met, self.answers)

    def _settle(self) -> None:
        """No more faults; the schedules and the stream finish what is left."""
        product, world = self.product, self.world
        product.is_closing = True
        product.rate, world.slow_until = 0.0, 0
        for process in product.all_processes():
            process.cut_until = 0
        for number in range(SETTLES):
            product.tick()
            product.finish()
            world.sleep(60)
            if product.finish() and not self._unfinished() and number >= SETTLES_AT_LEAST:
                return
            if self._waits():
                world.sleep(600)
        self.checks.fail(f"it did not come to rest: {self._unfinished()}")

    def _waits(self) -> bool:
        """Whether deliveries are left for later."""
        items = self.world.table.items.items()
        return any(k.pk.startswith("DELIVERY#") and v["status"] == "pending" for k, v in items)

    def _unfinished(self) -> list[str]:
        """What has to be done before the end is looked at."""
        pools = [
            key.pk
            for key, item in self.world.table.items.items()
            if key.pk.startswith("POOL#") and "isPending" in item
        ]
        return pools + (["deliveries"] if self._waits() else [])

    # --- Calls ------------------------------------------------------------------------------------

    def ask(
        self,
        request: Callable[[], dict[str, Any]],
        seed: str,
        *,
        rate: float | None = None,
        may_be_wrong: bool = False,
    ) -> tuple[int, Any]:
        """Send a request until it is answered; the status and the body of the answer.

        `may_be_wrong`: 400 is an answer as well.
        """
        chance = random.Random(f"client {seed}")
        rate = self.story.rate if rate is None else rate
        for attempt in range(MOST_TRIES):
            plan = Plan(f"{seed} {attempt}", rate if attempt < FAULTY_TRIES else 0.0)
            given = self.product.request(request(), plan)
            answer = given and (given["statusCode"], json.loads(given["body"] or "null"))
            if answer and (answer[0] == 500 or (answer[0] == 400 and not may_be_wrong)):
                self.checks.fail(f"{request()['routeKey']} was answered {answer}")
            if answer and answer[0] in ANSWERED and not _is_repeated(answer):
                self.answers[f"{ROUTES[request()['routeKey']].id} {answer[0]}"] += 1
                return answer
            self.world.sleep(chance.uniform(0.1, min(0.5 * 1.5**attempt, 10.0)))
        self.checks.fail(f"no answer after {MOST_TRIES} tries: {answer}")
        raise AssertionError

    def _sell(self, number: int, terms: dict[str, Any]) -> Sold:
        body = {**terms, "validFrom": "2026-01-01T00:00:00Z", "externalId": f"order-{number}"}
        status, made = self.ask(lambda: event(f"POST {E}", body=body), "setup", rate=0.0)
        assert status == 201, made
        entitlement_id = str(made["entitlementId"])
        path = {"entitlementId": entitlement_id}
        route = f"POST {E}/{{entitlementId}}/license-keys"
        status, key = self.ask(lambda: event(route, path, {}), "setup", rate=0.0)
        assert status == 201, key
        cap = cap_of(terms["seatCount"], terms["overdraftSeatLimit"])
        is_timed = "period" in terms["overdraftSeatLimit"]
        seats = Seats(entitlement_id, cap, is_timed=is_timed)
        self.checks.seats[entitlement_id] = seats
        client = self.world.client()
        for limit in terms["usageLimits"]:
            is_sharded = limit["limit"] >= 100_000
            most = cap_of(limit["limit"], limit["overdraftLimit"])
            self.checks.usage[entitlement_id, limit["key"]] = Usage(
                most, is_monthly=limit["resetSchedule"] == "monthly"
            )
            if is_sharded:
                client.execute(sharded.start_sharding((entitlement_id, limit["key"])))
        return Sold(entitlement_id, str(key["key"]), terms, seats)

    def _add_webhook(self) -> None:
        body = {"url": "http://127.0.0.1:9/all", "eventTypes": ["*"]}
        status, made = self.ask(lambda: event("POST /v1/webhooks", body=body), "setup", rate=0.0)
        assert status == 201, made

    # --- Actors -----------------------------------------------------------------------------------

    def _act(self, steps: list[Step], begin: int) -> None:
        for step in steps:
            wait = begin + int(step.at * SECOND) - self.world.now
            if wait > 0:
                self.world.sleep(wait / SECOND)
            getattr(self, f"_{step.kind}")(step, self.sold[step.of])
        self.acting -= 1

    def _call(
        self,
        step: Step,
        sold: Sold,
        request: Callable[[], dict[str, Any]],
        by_client: Callable[[overdraft.Overdraft], Any],
    ) -> tuple[int, Any]:
        """Send a request, or have the Python client make its call, as the step says."""
        if step.given["byClient"]:
            return through_client(self, sold, step.seed, by_client)
        return self.ask(request, step.seed)

    def _take(self, step: Step, sold: Sold) -> None:
        seat_id = _person(step.actor, step)
        key, seats = seat_key(sold.id, seat_id), sold.seats
        body: dict[str, Any] = {"seatId": seat_id, "attributes": {"device": "pc"}}
        if step.given["borrows"]:
            body["leasePeriod"] = "P1D"
        headers = {"idempotency-key": f"take-{step.seed}"} if step.given["once"] else None
        route = f"POST {E}/{{entitlementId}}/activations"
        path = {"entitlementId": sold.id}
        since, held = self.world.now, seats.grant_of(key)
        seats.may_begin[key] += 1
        status, answer = self._call(
            step,
            sold,
            lambda: event(route, path, body, key=sold.key, headers=headers),
            lambda client: client.take(seat_id),
        )
        seats.may_begin[key] -= 1
        if status in (200, 201):
            answered, grant_id = parse_activation_id(answer["activationId"])
            assert answered == key
            if key not in seats.erased:
                self.checks.granted(seats, key, grant_id)
            self.activations[step.of, seat_id].append(answer["activationId"])
        elif answer["type"].endswith("hard-cap-reached"):
            self.checks.is_on_record(sold.id, SEATS, answer["instance"])
            self.checks.denied_seat(seats, key, since, held)

    def _release(self, step: Step, sold: Sold) -> None:
        seat_id = _person(step.actor, step)
        known = self.activations[step.of, seat_id]
        if not known:
            return
        # At times software releases what it knew long ago: that frees nothing else.
        is_late = random.Random(f"{step.seed} late").random() < LATE
        named = known[0] if is_late else known[-1]
        key, grant_id = parse_activation_id(named)
        sold.seats.may_end.add((key, grant_id))
        route = f"DELETE {E}/{{entitlementId}}/activations/{{activationId}}"
        path = {"entitlementId": sold.id, "activationId": named}
        status, answer = self.ask(lambda: event(route, path, key=sold.key), step.seed)
        if status == 204:
            self.checks.released(sold.seats, key, grant_id)
        elif not sold.seats.is_ending:
            self.checks.fail(f"a release was answered {status}: {answer}")

    def _consume(self, step: Step, sold: Sold) -> None:
        key, quantity = step.given["key"], step.given["quantity"]
        usage = self.checks.usage[sold.id, key]
        name = f"use-{step.seed}"
        route = f"POST {E}/{{entitlementId}}/usage/{{key}}"
        path, body = {"entitlementId": sold.id, "key": key}, {"quantity": quantity}
        headers = {"idempotency-key": name}
        since, most = self.world.now, usage.most()
        usage.open[name] = quantity
        status, answer = self._call(
            step,
            sold,
            lambda: event(route, path, body, key=sold.key, headers=headers),
            lambda client: client.consume(key, quantity, request_key=name),
        )
        if status == 200:
            if answer["quantity"] != quantity:
                self.checks.fail(f"{quantity} were asked for, {answer['quantity']} answered")
            self.checks.accepted(usage, name, quantity, since)
        elif answer["type"].endswith("hard-cap-reached"):
            self.checks.is_on_record(sold.id, key, answer["instance"])
            if not usage.is_monthly:
                self.checks.denied_usage(usage, quantity, since, most)
        del usage.open[name]

    # --- The vendor -------------------------------------------------------------------------------

    def _seats(self, step: Step, sold: Sold) -> None:
        with self._alone(sold):
            sold.terms.update(step.given)
            cap = cap_of(sold.terms["seatCount"], sold.terms["overdraftSeatLimit"])
            sold.seats.caps.add(cap)
            if self._patch(step.seed, sold, step.given) == 200:
                sold.seats.caps.settle(self.world.now)

    @contextmanager
    def _alone(self, sold: Sold) -> Iterator[None]:
        """Vendors change an entitlement one after the other, so that it is known what holds."""
        while sold.seats.is_changing:
            self.world.sleep(0.5)
        sold.seats.is_changing = True
        yield
        sold.seats.is_changing = False

    def _patch(self, seed: str, sold: Sold, changes: dict[str, Any]) -> int:
        route, path = f"PATCH {E}/{{entitlementId}}", {"entitlementId": sold.id}
        status, answer = self.ask(lambda: event(route, path, changes), seed)
        if status not in (200, 202) and not sold.seats.is_ending:
            self.checks.fail(f"a change was answered {status}: {answer}")
        return status

    def _usage(self, step: Step, sold: Sold) -> None:
        limits = [dict(limit) for limit in sold.terms["usageLimits"]]
        exports = [limit for limit in limits if limit["key"] == "exports"]
        if not exports:
            return
        with self._alone(sold):
            exports[0]["limit"] = step.given["number"]
            usage = self.checks.usage[sold.id, "exports"]
            usage.caps.add(cap_of(exports[0]["limit"], exports[0]["overdraftLimit"]))
            if self._patch(step.seed, sold, {"usageLimits": limits}) == 200:
                usage.caps.settle(self.world.now)
        sold.terms["usageLimits"] = limits

    def _correct(self, step: Step, sold: Sold) -> None:
        if not sold.terms["usageLimits"]:
            return
        key = sold.terms["usageLimits"][0]["key"]
        usage = self.checks.usage[sold.id, key]
        route = f"POST {E}/{{entitlementId}}/usage/{{key}}/corrections"
        path, body = {"entitlementId": sold.id, "key": key}, {**step.given, "reason": "a test"}
        name = f"correct-{step.seed}"
        usage.open_corrections[name] = step.given["quantity"]
        status, _ = self.ask(
            lambda: event(route, path, body, headers={"idempotency-key": name}),
            step.seed,
            may_be_wrong=True,  # it may take back more than is used, or add more than fits
        )
        if status == 201:
            usage.corrections[name] = step.given["quantity"]
        del usage.open_corrections[name]

    def _suspend(self, step: Step, sold: Sold) -> None:
        self._patch(step.seed, sold, {"status": "suspended"})
        self.world.sleep(1.0)
        self._patch(f"{step.seed} again", sold, {"status": "active"})

    def _put(self, step: Step, sold: Sold) -> None:
        """The vendor's import sends the same entitlement, perhaps from two places at once."""
        external_id = f"import-{step.given['number'] % 5}"
        body = {"product": "CAD", "customer": {"name": "Globex"}, "seatCount": step.given["number"]}
        route = f"PUT {E}/by-external-id/{{externalId}}"
        status, answer = self.ask(
            lambda: event(route, {"externalId": external_id}, body), step.seed
        )
        if status not in (200, 201, 202):
            self.checks.fail(f"an import was answered {status}: {answer}")

    def _delete(self, step: Step, sold: Sold) -> None:
        sold.seats.is_ending = True
        route, path = f"DELETE {E}/{{entitlementId}}", {"entitlementId": sold.id}
        self.ask(lambda: event(route, path), step.seed)

    def _erase(self, step: Step, sold: Sold) -> None:
        seat_id = _person(step.given["of"], step)
        key = seat_key(sold.id, seat_id)
        sold.seats.erased.add(key)
        route, path = f"POST {E}/{{entitlementId}}/seats/erase", {"entitlementId": sold.id}
        self.ask(lambda: event(route, path, {"seatId": seat_id}), step.seed)

    def _evict(self, step: Step, sold: Sold) -> None:
        seat_id = _person(step.given["of"], step)
        key = seat_key(sold.id, seat_id)
        sold.seats.evicted[key] += 1
        route, path = f"POST {E}/{{entitlementId}}/seats/release", {"entitlementId": sold.id}
        status, answer = self.ask(lambda: event(route, path, {"seatId": seat_id}), step.seed)
        sold.seats.evicted[key] -= 1
        if status not in (200, 204, 404) and not sold.seats.is_ending:
            self.checks.fail(f"a release by person was answered {status}: {answer}")

    # --- The weather ------------------------------------------------------------------------------

    def _slow(self, step: Step, sold: Sold) -> None:
        self.world.slow_until = self.world.now + int(step.given["seconds"] * SECOND / 4)

    def _of_processes(self, step: Step) -> list[Any]:
        found = self.product.all_processes()
        return random.Random(step.seed).sample(found, -(-len(found) // 3))

    def _cut(self, step: Step, sold: Sold) -> None:
        for process in self._of_processes(step):
            process.cut_until = self.world.now + int(step.given["seconds"] * SECOND / 2)

    def _jump(self, step: Step, sold: Sold) -> None:
        """The clocks of some processes are set."""
        for process in self._of_processes(step):
            process.skew = int(random.Random(step.seed).uniform(-5, 5) * SECOND)

    def _crash(self, step: Step, sold: Sold) -> None:
        """Idle processes end; the next requests begin with cold ones."""
        for process in self._of_processes(step):
            if not process.is_busy:
                self.product.end(process)

    def _poison(self, step: Step, sold: Sold) -> None:
        self.product.poison()


def _person(client: str, step: Step) -> str:
    """The seat id of the person of a step, who belongs to a client."""
    return f"{client.replace(' ', '')}-{step.given['person']}@acme.example"


def _is_repeated(answer: tuple[int, Any]) -> bool:
    """Whether an answer asks for the same request again."""
    kind = str((answer[1] or {}).get("type", ""))
    return kind.endswith(("contention", "idempotency-in-progress"))
