"""Sixteen threads that create, rename and delete entitlements by ids of the vendor's own."""

import json
import random
from typing import Any

import pytest

from functions.manage import handler as manage
from local.dynamodb import DynamoDBLocal
from shared.api import app
from shared.api.auth import hash_key
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.marshalling import item_from_wire
from tests.support import dynamodb_local
from tests.support.requests import BOOTSTRAP_KEY, event
from tests.support.tables import create_table, open_client
from tests.support.threads import SEEDS, THREADS, together

E = "/v1/entitlements"
TERMS: dict[str, Any] = {"product": "CAD", "customer": {"name": "Acme"}, "seatCount": 5}
IDS = ["o1", "o2", "o3"]


def owners(engine: DynamoDBLocal, dynamodb: DynamoDBClient) -> tuple[dict[str, str], list[Any]]:
    """Which entitlement each id leads to, and all entitlements that exist, with their ids."""
    items = [item_from_wire(each) for each in dynamodb_local.scan(engine.url, dynamodb.name)]
    claims = {
        item["pk"].partition("#")[2]: item["entitlementId"]
        for item in items
        if item["pk"].startswith("EXTERNAL_ID#")
    }
    return claims, [
        (item["document"].get("externalId"), item["entitlementId"])
        for item in items
        if item["pk"].startswith("ENTITLEMENT#") and item["status"] != "deleted"
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_id_is_that_of_one_entitlement(engine: DynamoDBLocal, seed: int) -> None:
    dynamodb = open_client(engine.url, create_table(engine.url))
    given = {"BOOTSTRAP_KEY_HASH": hash_key(BOOTSTRAP_KEY)}
    serve = app.serve(manage.HANDLERS, app.Context(given, dynamodb))
    statuses: list[list[int]] = [[] for _ in range(THREADS)]

    def first(worker: int) -> None:
        path = {"externalId": "o1"}
        answer = serve(event(f"PUT {E}/by-external-id/{{externalId}}", path, TERMS), None)
        statuses[worker].append(answer["statusCode"])

    together(first)
    made = [status for each in statuses for status in each]
    assert sorted(made) == [200] * (THREADS - 1) + [201]

    def work(worker: int) -> None:
        chance = random.Random(seed * 100 + worker)
        for _ in range(12):
            external_id, entitlements = chance.choice(IDS), owners(engine, dynamodb)[1]
            entitlement_id = chance.choice(entitlements)[1] if entitlements else "ent_none"
            path = {"entitlementId": entitlement_id}
            by_id = event(
                f"PUT {E}/by-external-id/{{externalId}}",
                {"externalId": external_id},
                {**TERMS, "seatCount": chance.randrange(9)},
            )
            request = chance.choice(
                [
                    by_id,
                    by_id,
                    event(f"POST {E}", body={**TERMS, "externalId": external_id}),
                    event(f"PATCH {E}/{{entitlementId}}", path, {"externalId": external_id}),
                    event(f"PATCH {E}/{{entitlementId}}", path, {"externalId": None}),
                    event(f"DELETE {E}/{{entitlementId}}", path),
                ]
            )
            statuses[worker].append(serve(request, None)["statusCode"])

    together(work)
    answered = {status for each in statuses for status in each}
    assert answered <= {200, 201, 204, 404, 409, 503}
    claims, entitlements = owners(engine, dynamodb)
    assert claims == {name: entitlement_id for name, entitlement_id in entitlements if name}
    named = [name for name, _ in entitlements if name]
    assert len(named) == len(set(named))
    assert {200, 201, 204, 409} <= answered


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rename_is_not_undone(engine: DynamoDBLocal, seed: int) -> None:
    """Whoever puts under the old name meanwhile creates another one."""
    dynamodb = open_client(engine.url, create_table(engine.url))
    given = {"BOOTSTRAP_KEY_HASH": hash_key(BOOTSTRAP_KEY)}
    serve = app.serve(manage.HANDLERS, app.Context(given, dynamodb))
    for number in range(6):
        old, new = f"old{seed}-{number}", f"new{seed}-{number}"
        made = serve(event(f"POST {E}", body={**TERMS, "externalId": old}), None)
        first = json.loads(made["body"])["entitlementId"]

        renamed = list[int]()

        def work(
            worker: int,
            first: str = first,
            old: str = old,
            new: str = new,
            renamed: list[int] = renamed,
        ) -> None:
            if worker == 0:
                path, body = {"entitlementId": first}, {"externalId": new}
                request = event(f"PATCH {E}/{{entitlementId}}", path, body)
                renamed.append(serve(request, None)["statusCode"])
                return
            more: dict[str, Any] = {**TERMS, "seatCount": worker}
            request = event(f"PUT {E}/by-external-id/{{externalId}}", {"externalId": old}, more)
            assert serve(request, None)["statusCode"] in (200, 201, 503)

        together(work)
        names = {entitlement_id: name for name, entitlement_id in owners(engine, dynamodb)[1]}
        # It may have lost every race: then it was told so, and nothing was renamed.
        assert renamed[0] in (200, 503)
        assert names[first] == (new if renamed == [200] else old)
