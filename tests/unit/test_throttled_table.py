"""A table that is throttled: requests are answered soon, work in the background waits.

Time is counted here, not waited for: waits move the clock.
"""

import json
from typing import Any

import pytest

from functions.deliver import deliveries
from functions.deliver import handler as deliver
from functions.notify import handler as notify
from functions.notify.publisher import Publisher
from functions.release import handler as release
from functions.report import handler as report
from functions.report import pipeline
from local.adapt import read_template
from shared import aws
from shared.api import app
from shared.aws_json import Credentials
from shared.clock import now_ms
from shared.dynamodb import client as client_module
from shared.dynamodb.keys import seat_shard_key
from shared.dynamodb.marshalling import to_wire
from shared.seats import activation
from shared.seats.holder import Holder
from tests.support.notifier import Recorder
from tests.support.reports import MemoryStore
from tests.support.seats import change, make_shard, new_id, read_shard_item, terms
from tests.support.tables import RoleClient
from tests.unit.conftest import Api
from tests.unit.deliver.test_deliveries import FakeSender, Office

THROTTLED = {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}


class Clock:
    """Stands for `time` in `shared/dynamodb/client.py`: a wait takes no time of ours."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def now_ms(self) -> int:
        return START_MS + int(self.now * 1000)


START_MS = now_ms()


class ThrottledClient(RoleClient):
    """Refuses every call until it is so late."""

    is_patient = False
    clock: Clock
    until = 0.0

    def _send(self, operation: str, payload: bytes) -> tuple[int, dict[str, Any]]:
        self.clock.now += 0.01
        if self.clock.now < self.until:
            return 400, THROTTLED
        return super()._send(operation, payload)


class Context:
    """What Lambda tells a run about itself."""

    aws_request_id = "run"

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._end = clock, clock.now + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - self._clock.now) * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(client_module, "time", made)
    return made


@pytest.fixture
def throttled(clock: Clock, dynamodb: RoleClient) -> ThrottledClient:
    """The same table, by a client that is throttled."""
    made = ThrottledClient(
        dynamodb.name,
        region="us-east-1",
        endpoint=dynamodb._aws.endpoint,
        credentials=Credentials("test", "test"),
    )
    made.clock = clock
    return made


def seconds_of(name: str) -> int:
    """A function's time-out, as it is deployed."""
    template = read_template()
    usual = template["Globals"]["Function"]["Timeout"]
    return int(template["Resources"][name]["Properties"].get("Timeout", usual))


# --- Requests -------------------------------------------------------------------------------------


def test_a_request_is_answered_before_the_gateway_gives_up(
    throttled: ThrottledClient, api: Api
) -> None:
    entitlement_id = api.create()
    throttled.until = 3_600
    answer = Api(throttled).call(
        "GET /v1/entitlements/{entitlementId}", {"entitlementId": entitlement_id}
    )
    assert answer[0] == 503
    assert answer[1]["type"].endswith("/unavailable")
    assert throttled.clock.now < seconds_of("Entitlements") < 30, "API Gateway's own limit"


def test_a_moment_of_throttling_is_waited_out(
    throttled: ThrottledClient, dynamodb: RoleClient
) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(2, 2))
    throttled.answer_within(app.REQUEST_SECONDS)
    throttled.until = 0.05  # waits are random: the sum of all of them is never this short
    throttled.run(activation.take(entitlement_id, Holder("a"), change(), 1))
    assert len(read_shard_item(dynamodb, entitlement_id)["seats"]) == 1


# --- Webhooks -------------------------------------------------------------------------------------


class DeliverFunction:
    """Deliver and its queue, with the settings of the template."""

    def __init__(
        self, office: Office, throttled: ThrottledClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.clock = throttled.clock
        monkeypatch.setattr(deliver, "_dynamodb", throttled)
        monkeypatch.setattr(
            deliver, "_deliveries", deliveries.Deliveries(throttled, "queue", frozenset())
        )
        for module in (deliver, deliveries):
            monkeypatch.setattr(module, "now_ms", self.clock.now_ms)
        self.seconds = seconds_of("Deliver")
        queue = read_template()["Resources"]["Deliveries"]["Properties"]
        self.visibility = queue["VisibilityTimeout"]
        self.most = queue["RedrivePolicy"]["maxReceiveCount"]
        self.event = {"Records": [office.message()]}

    def run(self) -> list[Any]:
        """One run; what is to come again."""
        began = self.clock.now
        answer = deliver.handler(self.event, Context(self.clock, self.seconds))
        assert self.clock.now - began < self.seconds, "Lambda had ended it"
        return list(answer["batchItemFailures"])


@pytest.fixture
def deliver_function(
    dynamodb: RoleClient, throttled: ThrottledClient, monkeypatch: pytest.MonkeyPatch
) -> tuple[DeliverFunction, Office]:
    office = Office(dynamodb, monkeypatch)
    return DeliverFunction(office, throttled, monkeypatch), office


def test_a_webhook_waits_within_its_run(
    deliver_function: tuple[DeliverFunction, Office], throttled: ThrottledClient
) -> None:
    function, office = deliver_function
    throttled.until = 20
    assert function.run() == []
    assert len(FakeSender.sent) == 1
    assert office.delivery()["status"] == "succeeded"


def test_a_webhook_survives_an_hour_without_the_table(
    deliver_function: tuple[DeliverFunction, Office], throttled: ThrottledClient
) -> None:
    function, office = deliver_function
    throttled.until = 3_600
    for _ in range(function.most):
        received = function.clock.now
        if not function.run():
            break
        function.clock.now = received + function.visibility
    else:
        pytest.fail("it went to the queue of what was given up")
    assert function.clock.now > 3_600
    assert len(FakeSender.sent) == 1
    assert office.delivery()["status"] == "succeeded"


# --- The stream, reports, the sweep ---------------------------------------------------------------


def test_the_stream_waits_within_its_run(
    throttled: ThrottledClient, dynamodb: RoleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(2, 2))
    key = seat_shard_key(entitlement_id)
    image = {
        name: to_wire(value) for name, value in read_shard_item(dynamodb, entitlement_id).items()
    }
    keys = {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
    record = {"dynamodb": {"Keys": keys, "SequenceNumber": "1", "NewImage": image}}
    recorder = Recorder()
    monkeypatch.setattr(aws, "client", recorder.client)
    monkeypatch.setattr(notify, "_dynamodb", throttled)
    monkeypatch.setattr(notify, "_publisher", Publisher("bus", "queue", throttled))
    throttled.until = 40
    seconds = seconds_of("Notify")
    answer = notify.handler({"Records": [record]}, Context(throttled.clock, seconds))
    assert answer == {"batchItemFailures": []}
    assert 40 < throttled.clock.now < seconds
    # Throttled for longer than a run, it says in time that the record is to come again.
    throttled.until = 3_600
    began = throttled.clock.now
    answer = notify.handler({"Records": [record]}, Context(throttled.clock, seconds))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert throttled.clock.now - began < seconds


def test_the_sweep_waits_within_its_run(
    throttled: ThrottledClient, dynamodb: RoleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    entitlement_id = new_id()
    make_shard(dynamodb, entitlement_id, terms(2, 2, lease=60))
    past = now_ms() - 600_000
    dynamodb.run(activation.take(entitlement_id, Holder("a"), change(past), 1))
    monkeypatch.setattr(release._context, "dynamodb", throttled)
    throttled.until = 20
    seconds = seconds_of("Release")
    release.handler({}, Context(throttled.clock, seconds))
    assert read_shard_item(dynamodb, entitlement_id)["seats"] == {}
    assert 20 < throttled.clock.now < seconds


def test_a_report_waits_for_minutes(
    throttled: ThrottledClient, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = pipeline.Work(throttled, MemoryStore(), lambda _: None, pipeline.Mailing("", ()))
    monkeypatch.setattr(report, "_work", work)
    monkeypatch.setattr(report._context, "dynamodb", throttled)
    month = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    status, made, _ = api.call("POST /v1/reports", body=month)
    assert status == 202, made
    throttled.until = 600
    body = json.dumps({"reportId": made["reportId"], "step": "plan"})
    record = {"messageId": "m", "receiptHandle": "r", "body": body}
    seconds = seconds_of("Report")
    answer = report.handler({"Records": [record]}, Context(throttled.clock, seconds))
    assert answer == {"batchItemFailures": []}
    assert 600 < throttled.clock.now < seconds
    key = {"reportId": made["reportId"]}
    assert api.call("GET /v1/reports/{reportId}", key)[1]["status"] == "published"
