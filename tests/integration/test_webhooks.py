"""From a seat to a signed POST, through the whole deployed stack."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from local.stack import Stack
from shared.api.schemas.events import EVENTS
from shared.events import types as event_types
from tests.integration.conftest import CheckedApi, Customer
from tests.support.receivers import Receivers, verify_with_node
from tests.support.waiting import wait_for
from tools import redrive

BEHAVIOURS = (
    "good",
    "good-2",
    "meeting-a",
    "meeting-b",
    "failing",
    "recovering",
    "redirecting",
    "hanging",
    "dripping",
    "resetting",
    "gone",
    "busy",
)


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    running = Receivers()
    yield running
    running.stop()


class Hooks:
    """A customer's events, sent to one receiver of each behaviour."""

    def __init__(self, api: CheckedApi, receivers: Receivers) -> None:
        self.api = api
        self.receivers = receivers
        self.customer = Customer(api)
        self.secrets: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        for behaviour in BEHAVIOURS:
            self.add(behaviour)
        self.activation = self.customer.take("alice@acme.com")

    def add(self, behaviour: str, **fields: Any) -> None:
        body = {
            "url": f"{self.receivers.url}/{behaviour}/{self.customer.id}",
            "entitlementId": self.customer.id,
            **fields,
        }
        created = self.api.expect(201, "POST", "/v1/webhooks", body)
        self.secrets[behaviour], self.ids[behaviour] = created["secret"], created["webhookId"]

    def calls(self, behaviour: str) -> list[Any]:
        return self.receivers.at(f"/{behaviour}/{self.customer.id}")

    def activations(self, behaviour: str) -> list[Any]:
        """The calls that told of the seat; other events may have come as well."""
        return [call for call in self.calls(behaviour) if event_types.SEAT_ACTIVATED in call.body]

    def deliveries(self, behaviour: str, query: str = "") -> list[dict[str, Any]]:
        path = f"/v1/webhooks/{self.ids[behaviour]}/deliveries{query}"
        return list(self.api.expect(200, "GET", path)["items"])

    def first_attempt(self, behaviour: str) -> dict[str, Any]:
        def look() -> Any:
            for delivery in self.deliveries(behaviour):
                if delivery["attempts"] and delivery["type"] == event_types.SEAT_ACTIVATED:
                    return delivery
            return None

        return dict(wait_for(look))


@pytest.fixture(scope="module")
def hooks(api: CheckedApi, receivers: Receivers) -> Iterator[Hooks]:
    made = Hooks(api, receivers)
    yield made
    for webhook_id in made.ids.values():
        api.call("DELETE", f"/v1/webhooks/{webhook_id}")


EXACT = "/a%2Fb/../c/%7E%28%3A%40//;p?sig=abc%2Fdef%3A+x%20&e=&e"


def test_an_endpoint_is_called_at_exactly_its_url(hooks: Hooks) -> None:
    """Many carry a signature in theirs, over its very bytes."""
    base = f"/good/{hooks.customer.id}"
    hooks.add("exact", url=f"{hooks.receivers.url}{base}{EXACT}")
    hooks.api.expect(202, "POST", f"/v1/webhooks/{hooks.ids['exact']}/test", {})
    assert wait_for(lambda: hooks.receivers.at(base + EXACT))


def test_an_event_arrives_signed_and_another_library_says_so(hooks: Hooks) -> None:
    [call] = wait_for(lambda: hooks.activations("good"))
    event = json.loads(call.body)
    EVENTS[event_types.SEAT_ACTIVATED].model_validate(event)
    assert event["data"]["seat"]["seatId"] == "alice@acme.com"
    assert event["data"]["seat"]["activationId"] == hooks.activation["activationId"]
    assert event["data"]["customer"]["name"] == "Acme Corp"
    assert call.headers["webhook-id"] == event["id"]
    assert call.headers["content-type"] == "application/json"
    signed = {"secret": hooks.secrets["good"], "body": call.body, "headers": call.headers}
    changed = {**signed, "body": call.body.replace("alice", "mallory")}
    other = {**signed, "secret": hooks.secrets["good-2"]}
    assert verify_with_node([signed, changed, other]) == [True, False, False]


def test_a_delivery_is_listed(hooks: Hooks) -> None:
    delivery = hooks.first_attempt("good")
    assert delivery["status"] == "succeeded"
    assert delivery["type"] == event_types.SEAT_ACTIVATED
    [attempt] = delivery["attempts"]
    assert (attempt["responseStatus"], attempt["error"]) == (200, None)
    assert hooks.deliveries("good", "?status=failed") == []
    assert len(hooks.deliveries("good", "?status=succeeded&limit=1")) == 1


def test_a_slow_receiver_holds_nobody_up(hooks: Hooks) -> None:
    """Two receivers wait for each other: both answer only if they are called at the same time."""
    for behaviour in ("meeting-a", "meeting-b"):
        assert hooks.first_attempt(behaviour)["attempts"][0]["responseStatus"] == 200


@pytest.mark.parametrize(
    ("behaviour", "code", "error"),
    [
        ("failing", 500, None),
        ("redirecting", 302, None),
        ("hanging", None, "no answer within 15 s"),
        ("dripping", None, "no answer within 15 s"),
        ("resetting", None, "the connection was closed too early"),
    ],
)
def test_a_failed_delivery_is_listed_and_repeated(
    hooks: Hooks, behaviour: str, code: int | None, error: str | None
) -> None:
    delivery = hooks.first_attempt(behaviour)
    attempt = delivery["attempts"][0]
    assert (attempt["responseStatus"], attempt["error"]) == (code, error)
    assert delivery["status"] == "pending"
    assert delivery["nextAttemptAt"]


def test_no_redirect_is_followed(hooks: Hooks, receivers: Receivers) -> None:
    hooks.first_attempt("redirecting")
    assert not receivers.at("/good/redirected")


def test_it_is_tried_again_after_five_seconds(hooks: Hooks) -> None:
    first, second = wait_for(lambda: len(c := hooks.activations("recovering")) == 2 and c)
    assert second.at - first.at >= 4.5
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    signed = [
        {"secret": hooks.secrets["recovering"], "body": call.body, "headers": call.headers}
        for call in (first, second)
    ]
    assert verify_with_node(signed) == [True, True]
    wait_for(lambda: hooks.deliveries("recovering", "?status=succeeded"))


def test_retry_after_is_honoured(hooks: Hooks) -> None:
    first, second = wait_for(lambda: len(c := hooks.activations("busy")) == 2 and c)
    assert second.at - first.at >= 6.5


def test_an_endpoint_that_is_gone_is_disabled_and_that_is_an_event(
    hooks: Hooks, api: CheckedApi, receivers: Receivers
) -> None:
    path = f"/v1/webhooks/{hooks.ids['gone']}"
    endpoint = wait_for(lambda: not (w := api.expect(200, "GET", path))["enabled"] and w)
    assert endpoint["disabledReason"] == "gone"
    shown = wait_for(
        lambda: [
            event
            for call in hooks.calls("good")
            if (event := json.loads(call.body))["type"] == event_types.ENDPOINT_DISABLED
            and event["data"]["webhookId"] == hooks.ids["gone"]
        ]
    )
    EVENTS[event_types.ENDPOINT_DISABLED].model_validate(shown[0])
    assert hooks.first_attempt("gone")["status"] == "failed"
    assert api.call("POST", f"{path}/test", {}).status == 400
    # Enabled again, what failed can be sent again: all of it since a time.
    body = {"enabled": True, "url": f"{receivers.url}/good/again-{hooks.customer.id}"}
    assert api.expect(200, "PATCH", path, body)["disabledReason"] is None
    api.expect(202, "POST", f"{path}/resend", {"since": "2026-01-01T00:00:00Z"})
    [call] = wait_for(lambda: receivers.at(f"/good/again-{hooks.customer.id}"))
    assert json.loads(call.body)["type"] == event_types.SEAT_ACTIVATED


def test_one_delivery_is_sent_again(hooks: Hooks, api: CheckedApi) -> None:
    delivery = hooks.first_attempt("good-2")
    before = len(hooks.calls("good-2"))
    path = f"/v1/webhooks/{hooks.ids['good-2']}/deliveries/{delivery['deliveryId']}"
    api.expect(202, "POST", f"{path}/resend")
    calls = wait_for(lambda: len(c := hooks.calls("good-2")) > before and c)
    assert calls[-1].headers["webhook-id"] == delivery["eventId"]
    again = wait_for(lambda: [d for d in hooks.deliveries("good-2") if len(d["attempts"]) == 2])
    assert again[0]["status"] == "succeeded"


def test_a_test_event_says_that_it_is_one(hooks: Hooks, api: CheckedApi) -> None:
    path = f"/v1/webhooks/{hooks.ids['good-2']}/test"
    answer = api.expect(202, "POST", path, {"type": event_types.OVERDRAFT_EXITED})

    def look() -> Any:
        for call in hooks.calls("good-2"):
            if call.headers["webhook-id"] == answer["eventId"]:
                return json.loads(call.body)
        return None

    event = wait_for(look)
    EVENTS[event_types.OVERDRAFT_EXITED].model_validate(event)
    assert event["data"]["test"] is True
    result = wait_for(lambda: [d for d in hooks.deliveries("good-2") if d["isTest"]])
    assert result[0]["deliveryId"] == answer["deliveryId"]


def test_a_new_secret_signs_beside_the_old_one_for_a_while(
    api: CheckedApi, receivers: Receivers
) -> None:
    customer = Customer(api)
    url = f"{receivers.url}/good/rotated-{customer.id}"
    body = {"url": url, "entitlementId": customer.id}
    created = api.expect(201, "POST", "/v1/webhooks", body)
    path = f"/v1/webhooks/{created['webhookId']}"
    rotated = api.expect(201, "POST", f"{path}/rotate-secret", {"overlapSeconds": 3600})
    assert rotated["secret"] != created["secret"]
    customer.take("alice")
    [call] = wait_for(lambda: receivers.at(f"/good/rotated-{customer.id}"))
    signed = [
        {"secret": secret, "body": call.body, "headers": call.headers}
        for secret in (created["secret"], rotated["secret"])
    ]
    assert verify_with_node(signed) == [True, True]
    # It was said to sign for an hour: not less, unless that is wanted.
    answer = api.call("POST", f"{path}/rotate-secret", {"overlapSeconds": 3600})
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (400, "/overlapSeconds")
    # Without an overlap, only the newest is good.
    last = api.expect(201, "POST", f"{path}/rotate-secret", {"overlapSeconds": 0})
    customer.take("bob")
    calls = wait_for(lambda: len(c := receivers.at(f"/good/rotated-{customer.id}")) > 1 and c)
    signed = [
        {"secret": secret, "body": calls[-1].body, "headers": calls[-1].headers}
        for secret in (rotated["secret"], last["secret"])
    ]
    assert verify_with_node(signed) == [False, True]
    assert api.call("DELETE", path).status == 204
    assert api.call("GET", path).status == 404


def test_filters(api: CheckedApi, receivers: Receivers) -> None:
    acme, other = Customer(api), Customer(api, customer={"name": "Other", "externalId": "o-1"})
    wanted = {
        "overdraft": {"eventTypes": ["entitlement.overdraft.*"], "entitlementId": acme.id},
        "customer": {"customer": "o-1"},
        "off": {"enabled": False, "entitlementId": acme.id},
        "all": {"entitlementId": acme.id},
    }
    ids = []
    for name, fields in wanted.items():
        body = {"url": f"{receivers.url}/good/{name}-{acme.id}", **fields}
        ids.append(api.expect(201, "POST", "/v1/webhooks", body)["webhookId"])
    for seat_id in ("a", "b", "c"):
        acme.take(seat_id)
    acme.take("d", 409)
    other.take("a")

    def types(name: str) -> set[str]:
        return {json.loads(c.body)["type"] for c in receivers.at(f"/good/{name}-{acme.id}")}

    wait_for(lambda: event_types.SEAT_DENIED in types("all"))
    wait_for(lambda: types("customer"))
    wait_for(lambda: len(types("overdraft")) == 2)
    assert types("overdraft") == {event_types.OVERDRAFT_ENTERED, event_types.OVERDRAFT_EXHAUSTED}
    assert types("customer") == {event_types.SEAT_ACTIVATED}
    assert types("off") == set()
    for webhook_id in ids:
        assert api.call("DELETE", f"/v1/webhooks/{webhook_id}").status == 204


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://127.0.0.2/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://user:pass@example.com/",
        "ftp://example.com/",
        "https://",
        "https://example.com/#part",
        "https://exa mple.com/",
        "https://127.0.0.1.nowhere.invalid/",
        "http://localhost:9/",
        "",
        "x" * 3000,
    ],
)
def test_where_no_webhook_is_sent(api: CheckedApi, url: str) -> None:
    answer = api.call("POST", "/v1/webhooks", {"url": url})
    assert answer.status == 400
    assert answer.body["errors"][0]["pointer"] == "/url"


@pytest.mark.parametrize(
    "fields",
    [
        {"eventTypes": []},
        {"eventTypes": ["no.such.type"]},
        {"eventTypes": ["entitlement*"]},
        {"entitlementId": "ent_none"},
        {"secret": "whsec_x"},
        {"enabled": "yes"},
    ],
)
def test_what_no_endpoint_is(api: CheckedApi, receivers: Receivers, fields: dict[str, Any]) -> None:
    answer = api.call("POST", "/v1/webhooks", {"url": f"{receivers.url}/good", **fields})
    assert answer.status == 400
    assert next(iter(fields)) in answer.body["errors"][0]["pointer"]


@pytest.mark.parametrize("kind", event_types.TYPES)
def test_every_type_can_be_tested(hooks: Hooks, api: CheckedApi, kind: str) -> None:
    path = f"/v1/webhooks/{hooks.ids['good']}/test"
    answer = api.expect(202, "POST", path, {"type": kind})

    def look() -> Any:
        for call in hooks.calls("good"):
            if call.headers["webhook-id"] == answer["eventId"]:
                return json.loads(call.body)
        return None

    event = wait_for(look)
    assert event["type"] == kind
    EVENTS[kind].model_validate(event)


def test_secrets_are_shown_once(hooks: Hooks, api: CheckedApi) -> None:
    for path in ("/v1/webhooks", f"/v1/webhooks/{hooks.ids['good']}"):
        assert "whsec_" not in json.dumps(api.expect(200, "GET", path))
    body = {"url": f"{hooks.receivers.url}/good/once"}
    headers = {"idempotency-key": f"once-{hooks.customer.id}"}
    first = api.call("POST", "/v1/webhooks", body, headers=headers)
    again = api.call("POST", "/v1/webhooks", body, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert first.body == again.body
    assert api.call("DELETE", f"/v1/webhooks/{first.body['webhookId']}").status == 204


def test_every_event_is_on_the_bus(stack: Stack, api: CheckedApi) -> None:
    """A rule of the vendor's own, to a queue of its own."""
    sqs, bus = stack.client("sqs"), stack.client("events")
    url = sqs.create_queue(QueueName="observer")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    name = stack.outputs["EventBusName"]
    pattern = json.dumps({"source": ["overdraft"], "detail-type": [{"prefix": "entitlement."}]})
    bus.put_rule(Name="all", EventBusName=name, EventPattern=pattern)
    bus.put_targets(Rule="all", EventBusName=name, Targets=[{"Id": "q", "Arn": arn["QueueArn"]}])
    customer = Customer(api)
    for seat_id in ("a", "b", "c"):
        customer.take(seat_id)
    customer.take("d", 409)
    api.expect(200, "PATCH", customer.path, {"seatCount": 3})
    assert api.call("DELETE", customer.path).status == 204
    seen: dict[str, Any] = {}

    def look() -> Any:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            sent = json.loads(message["Body"])
            assert sent["source"] == "overdraft"
            assert sent["detail-type"] == sent["detail"]["type"]
            if sent["detail"]["data"]["entitlementId"] == customer.id:
                seen[sent["detail"]["id"]] = sent["detail"]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return any(event["type"] == event_types.DELETED for event in seen.values())

    wait_for(look)
    wait_for(lambda: look() and any(e["type"] == event_types.SEAT_DENIED for e in seen.values()))
    for event in seen.values():
        EVENTS[event["type"]].model_validate(event)
    kinds = [event["type"] for event in seen.values()]
    assert kinds.count(event_types.SEAT_ACTIVATED) == 3
    assert kinds.count(event_types.SEAT_DEACTIVATED) == 3
    assert kinds.count(event_types.THRESHOLD_REACHED) == 2
    assert (
        kinds.count(event_types.OVERDRAFT_ENTERED) == kinds.count(event_types.OVERDRAFT_EXITED) == 1
    )
    assert kinds.count(event_types.UPDATED) == kinds.count(event_types.DELETED) == 1


def test_a_record_that_was_given_up_is_replayed(
    stack: Stack, api: CheckedApi, receivers: Receivers, capsys: pytest.CaptureFixture[str]
) -> None:
    """A poison record blocks nobody, is kept whole, raises the alarm, and can be replayed."""
    customer = Customer(api)
    wait_for(lambda: api.expect(200, "GET", f"{customer.path}/usage-history")["items"])
    dynamodb, table_name = stack.client("dynamodb"), stack.outputs["TableName"]
    key = {"pk": {"S": f"LEDGER#{customer.id}#0000"}, "sk": {"S": "LEDGER"}}
    # A version whose change says nothing: no operation of ours writes such a one.
    dynamodb.update_item(
        TableName=table_name,
        Key=key,
        UpdateExpression="SET seq = seq + :one, #last = :nothing",
        ExpressionAttributeNames={"#last": "last"},
        ExpressionAttributeValues={":one": {"N": "1"}, ":nothing": {"M": {}}},
    )
    sqs, url = stack.client("sqs"), stack.outputs["NotifyFailuresUrl"]

    def waiting() -> int:
        name = "ApproximateNumberOfMessages"
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    wait_for(waiting)
    customer.take("alice")
    seat = f"{customer.path}/seats/alice"
    wait_for(lambda: api.call("GET", seat).status == 200)
    tool = redrive.Redrive("overdraft", stack.emulator.url)
    assert tool.records(replay=False) == 0
    assert customer.id in capsys.readouterr().out
    assert tool.records(replay=True) >= 1, "it is poison still"
    assert waiting()
    # Mended by hand, as after a fix: the object is what is replayed.
    s3, bucket = stack.client("s3"), stack.outputs["StreamFailuresBucket"]
    for each in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        body = json.loads(s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())
        payload = json.loads(body["payload"])
        for record in payload["Records"]:
            for image in ("OldImage", "NewImage"):
                last = record["dynamodb"][image]["last"]["M"]
                last.setdefault("type", {"S": "updated"})
                last.setdefault("at", {"N": str(int(time.time() * 1000))})
                last.setdefault("actor", {"S": "test"})
                last.setdefault("request", {"S": "test"})
        body["payload"] = json.dumps(payload)
        s3.put_object(Bucket=bucket, Key=each["Key"], Body=json.dumps(body).encode())
    assert tool.records(replay=True) == 0
    assert "replayed" in capsys.readouterr().out
    assert waiting() == 0
    assert not s3.list_objects_v2(Bucket=bucket).get("Contents")
    latest = dynamodb.query(
        TableName=table_name,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"HISTORY#{customer.id}#seats"}},
    )["Items"][-1]
    assert latest["missing"] == {"L": []}
    tool.messages("Deliveries", replay=True)
