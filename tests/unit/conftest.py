"""The rooms in this process, on Amazon's engine."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from functions.activate import handler as activate
from functions.consume import handler as consume
from functions.manage import handler as entitlements
from functions.portal import handler as portal
from functions.release import handler as release
from functions.report import handler as report
from local.dynamodb import DynamoDBLocal
from shared.api import app
from shared.api.auth import hash_key
from shared.api.routes import ROUTES
from shared.dynamodb.client import DynamoDBClient
from tests.support.requests import BOOTSTRAP_KEY, event
from tests.support.tables import create_table, delete_table, open_client, this_thread_as
from tools import build

# A function's role in the template. The logical id of `manage` is from before it had this name.
ROLES = {
    name: f"{'Entitlements' if name == 'manage' else name.title()}Role" for name in build.FUNCTIONS
}


@pytest.fixture(scope="session")
def engine_url() -> Iterator[str]:
    """One engine for all of these tests: they leave little behind."""
    with DynamoDBLocal() as engine:
        yield engine.url


@pytest.fixture
def dynamodb(engine_url: str) -> Iterator[DynamoDBClient]:
    """A client to an empty table."""
    name = create_table(engine_url)
    yield open_client(engine_url, name)
    delete_table(engine_url, name)


class Api:
    """All functions behind one API, as API Gateway puts them together."""

    def __init__(self, dynamodb: DynamoDBClient, **environment: str) -> None:
        given = {"BOOTSTRAP_KEY_HASH": hash_key(BOOTSTRAP_KEY), **environment}
        self.dynamodb = dynamodb
        self.context = app.Context(given, dynamodb)
        handlers_by_route = {
            **activate.HANDLERS,
            **consume.HANDLERS,
            **release.HANDLERS,
            **entitlements.HANDLERS,
            **portal.HANDLERS,
            **report.HANDLERS,
        }
        self._serve = app.serve(handlers_by_route, self.context)

    def call(self, route_key: str, *args: Any, **kwargs: Any) -> tuple[int, Any, dict[str, str]]:
        route = ROUTES.get(route_key.replace("HEAD ", "GET "))
        role = ROLES[route.function if route else "manage"]
        with this_thread_as(role):
            answer = self._serve(event(route_key, *args, **kwargs), None)
        body = answer["body"]
        parsed = json.loads(body) if body[:1] in ("{", "[") else body
        return answer["statusCode"], parsed, answer["headers"]

    def create(self, **terms: Any) -> str:
        body = {"product": "P", "customer": {"name": "C"}, "seatCount": 2, **terms}
        status, created, _ = self.call("POST /v1/entitlements", body=body)
        assert status == 201, created
        return str(created["entitlementId"])


@pytest.fixture(scope="module")
def module_api(engine_url: str) -> Api:
    """An API whose table a file of tests fills once."""
    return Api(open_client(engine_url, create_table(engine_url)))


@pytest.fixture
def api(dynamodb: DynamoDBClient) -> Api:
    return Api(dynamodb)
