"""What runs inside the emulator's process: the emulator, made as strict as AWS.

Each function below bridges one gap between the emulator and AWS, and says which. All that they
touch of the emulator is named here, and pinned by its exact version.
"""

import contextvars
import decimal
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from ministack import app as emulator
from ministack.core import iam_evaluator
from ministack.core.iam_actions import access_denied_response
from ministack.services import apigateway, dynamodb, eventbridge, iam, ses_v2

from local.aws_calls import Call, Place, UnknownCall, accesses
from local.iam import Statement, parse
from local.rights import Record

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}", re.ASCII)


def main() -> None:
    """Run the emulator until it is stopped."""
    # DynamoDB computes with 38 digits, Python's decimals with 28 by default.
    decimal.DefaultContext.prec = 38
    decide_by_our_own_rules()
    decode_path_parameters()
    hand_over_other_bytes_in_base64()
    route_preflights()
    emulator.app = Gate(emulator.app)
    emulator.main()


# --- IAM ------------------------------------------------------------------------------------------


def decide_by_our_own_rules() -> None:
    """The emulator ignores leading keys and asks for some rights otherwise than AWS does.

    It goes on to check credentials; what a role may do is decided by `Gate`, before.
    """
    enforce = iam_evaluator.enforce

    def credentials_only(*args: Any, **kwargs: Any) -> Any:
        denied = enforce(*args, **kwargs)
        is_role = ":assumed-role/" in getattr(denied, "principal_arn", "")
        return None if is_role else denied

    iam_evaluator.enforce = credentials_only


class Gate:
    """Checks every call that a function makes against the role that it has as deployed."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._record = Record()
        self._statements: dict[str, list[Statement]] = {}  # by the documents of a role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it in the way of its service."""
        found = self._signer(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        role, region, service = found
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        body = b"".join(message.get("body", b"") for message in messages)
        refusal = self._refusal(role, region, service, scope, body)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        waiting = iter(messages)

        async def again() -> dict[str, Any]:
            for message in waiting:
                return message
            return await receive()

        await self._app(scope, again, send)
        if service == "ses":
            publish_returned_mail(json.loads(body))

    @staticmethod
    def _signer(scope: Scope) -> tuple[str, str, str] | None:
        """The role that signed a request, the region and the service that it is for."""
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        text = headers.get("authorization", "")
        if not text.startswith("AWS4"):
            text = unquote(scope.get("query_string", b"").decode())
        match = _CREDENTIAL.search(text)
        if match is None:
            return None
        principal = iam_evaluator.resolve_principal(match[1], "000000000000")
        if ":assumed-role/" not in getattr(principal, "arn", ""):
            return None
        return principal.arn.split("/")[1], match[2], match[3]

    def _refusal(
        self, role: str, region: str, service: str, scope: Scope, body: bytes
    ) -> tuple[int, dict[str, str], bytes] | None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        path = scope["path"]
        if service == "s3" and (bucket := emulator._extract_s3_vhost_bucket(headers["host"])):  # noqa: SLF001
            path = f"/{bucket}{path}"
        query = scope.get("query_string", b"").decode()
        call = Call(service, scope["method"], path, query, headers, body)
        place = Place(region, "000000000000", _hash_key)
        try:
            asked = accesses(call, place)
        except UnknownCall as unknown:
            return _denied(service, str(unknown), role, headers, "not known to local/aws_calls.py")
        statements = self._statements_of(role)
        for access in asked:
            decision = self._record.check(statements, access)
            if not decision.is_allowed:
                return _denied(service, access.action, role, headers, decision.reason)
        return _refused_mail(body) if service == "ses" else None

    def _statements_of(self, role: str) -> list[Statement]:
        found = iam._roles.get_scoped("000000000000", None, role)["InlinePolicies"]  # noqa: SLF001
        written = json.dumps(found)
        if written not in self._statements:
            self._statements[written] = [
                statement
                for name, document in found.items()
                for statement in parse(
                    name, json.loads(document) if isinstance(document, str) else document
                )
            ]
        return self._statements[written]


def _hash_key(table: str) -> str:
    schema = dynamodb._tables[table]["KeySchema"]  # noqa: SLF001
    return str(next(each["AttributeName"] for each in schema if each["KeyType"] == "HASH"))


def _denied(
    service: str, action: str, role: str, headers: dict[str, str], reason: str
) -> tuple[int, dict[str, str], bytes]:
    print(f"IAM refused {role}: {reason}", flush=True)
    refused: tuple[int, dict[str, str], bytes] = access_denied_response(
        service, action, role, "local", headers=headers, message=f"User: {role}: {reason}"
    )
    return refused


def _refused_mail(body: bytes) -> tuple[int, dict[str, str], bytes] | None:
    """SES takes only addresses in 7-bit ASCII, domains in Punycode; the emulator takes any."""
    given = json.loads(body)["Destination"].get("ToAddresses", [])
    for address in given:
        if not _ADDRESS.fullmatch(address):
            answer = {"__type": "BadRequestException", "message": f"Illegal address: {address}"}
            headers = {"content-type": "application/json", "x-amzn-errortype": answer["__type"]}
            return 400, headers, json.dumps(answer).encode()
    return None


# SES's mailbox simulator: mail to these addresses comes back, in AWS as here.
SIMULATED: dict[str, tuple[str, dict[str, Any]]] = {
    "bounce@simulator.amazonses.com": (
        "Email Bounced",
        {
            "eventType": "Bounce",
            "bounce": {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": [
                    {
                        "emailAddress": "bounce@simulator.amazonses.com",
                        "action": "failed",
                        "status": "5.1.1",
                        "diagnosticCode": "smtp; 550 5.1.1 user unknown",
                    }
                ],
            },
        },
    ),
    "complaint@simulator.amazonses.com": (
        "Email Complaint Received",
        {
            "eventType": "Complaint",
            "complaint": {
                "complainedRecipients": [{"emailAddress": "complaint@simulator.amazonses.com"}],
                "complaintFeedbackType": "abuse",
            },
        },
    ),
}


def publish_returned_mail(sent: dict[str, Any]) -> None:
    """SES publishes bounces and complaints by the configuration set; the emulator does not."""
    name = sent.get("ConfigurationSetName", "")
    destinations = ses_v2._config_sets.get(name, {}).get("EventDestinations", {})  # noqa: SLF001
    kinds = {
        kind
        for each in destinations.values()
        if each["Enabled"] and each.get("EventBridgeDestination")
        for kind in each["MatchingEventTypes"]
    }
    tags = {tag["Name"]: [tag["Value"]] for tag in sent.get("EmailTags", [])}
    mail = {
        "source": sent["FromEmailAddress"],
        "destination": sent["Destination"]["ToAddresses"],
        "tags": {**tags, "ses:configuration-set": [name]},
    }
    for address in sent["Destination"]["ToAddresses"]:
        detail_type, result = SIMULATED.get(address, ("", {}))
        if result and result["eventType"].upper() in kinds:
            entry = {
                "Source": "aws.ses",
                "DetailType": detail_type,
                "Detail": json.dumps({**result, "mail": mail}),
            }
            eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)  # noqa: SLF001


async def _answer(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


# --- API Gateway ----------------------------------------------------------------------------------


def decode_path_parameters() -> None:
    """AWS decodes a path parameter once; the emulator hands it over as it came."""
    extract = apigateway._extract_path_params  # noqa: SLF001

    def decoded(route: str, path: str) -> dict[str, str] | None:
        found: dict[str, str] | None = extract(route, path)
        return found and {name: unquote(value) for name, value in found.items()}

    apigateway._extract_path_params = decoded  # noqa: SLF001


_IS_TEXT = contextvars.ContextVar("is_text", default=True)


def hand_over_other_bytes_in_base64() -> None:
    """A body that is not UTF-8 comes in base64, whatever its type; the emulator replaces bytes."""
    invoke = apigateway._invoke_lambda_proxy  # noqa: SLF001
    is_text_type = apigateway._v2_request_body_is_text  # noqa: SLF001

    async def invoked(*args: Any, **kwargs: Any) -> Any:
        body = args[6]
        try:
            (body or b"").decode()
            _IS_TEXT.set(True)
        except UnicodeDecodeError:
            _IS_TEXT.set(False)
        return await invoke(*args, **kwargs)

    apigateway._invoke_lambda_proxy = invoked  # noqa: SLF001
    apigateway._v2_request_body_is_text = lambda kind: _IS_TEXT.get() and is_text_type(kind)  # noqa: SLF001


_PREFLIGHT = "PREFLIGHT"


def route_preflights() -> None:
    """Without CORS settings of the API, its $default route gets OPTIONS; the emulator answers 403.

    Source: "Configure CORS for HTTP APIs", on APIs with a $default route.
    """
    handle = apigateway._handle_execute_in_scope  # noqa: SLF001
    invoke = apigateway._invoke_lambda_proxy  # noqa: SLF001

    async def handled(
        api_id: str, stage: str, path: str, method: str, *args: Any, **kwargs: Any
    ) -> Any:
        method = _PREFLIGHT if method == "OPTIONS" else method
        return await handle(api_id, stage, path, method, *args, **kwargs)

    async def invoked(*args: Any, **kwargs: Any) -> Any:
        given = list(args)
        given[4] = "OPTIONS" if given[4] == _PREFLIGHT else given[4]
        return await invoke(*given, **kwargs)

    apigateway._handle_execute_in_scope = handled  # noqa: SLF001
    apigateway._invoke_lambda_proxy = invoked  # noqa: SLF001
