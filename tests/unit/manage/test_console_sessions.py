"""Sessions of the console: who comes in, what they may do, and when it ends."""

import base64
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from functions.manage import console_sessions
from functions.manage.sign_in import SignIn, roles_of, values_at
from shared.api import auth
from shared.api.routes import ROUTES
from shared.dynamodb.keys import credential_key
from shared.dynamodb.requests import Get, Update
from tests.support.openid import CLIENT, FakeProvider, provider
from tests.support.requests import BOOTSTRAP_KEY
from tests.unit.conftest import Api

SIGN_IN = "POST /v1/console/sessions"
OWN = "GET /v1/console/session"
E = "/v1/entitlements/{entitlementId}"


def sign_in(api: Api, **proof: str) -> tuple[int, Any]:
    status, answer, _ = api.call(SIGN_IN, body=proof, key=None)
    return status, answer


def session(api: Api, key: str = BOOTSTRAP_KEY) -> str:
    status, answer = sign_in(api, apiKey=key)
    assert status == 201, answer
    return str(answer["session"])


def api_key(api: Api, *scopes: str) -> tuple[str, str]:
    body = {"name": "helpdesk", "scopes": list(scopes)}
    status, made, _ = api.call("POST /v1/api-keys", body=body)
    assert status == 201, made
    return made["keyId"], made["key"]


def change_record(api: Api, credential: str, **values: int) -> None:
    """Let time pass for a session, in the table and in what this process remembers."""
    key = credential_key(credential.split(".", maxsplit=1)[0])
    for name, value in values.items():
        api.dynamodb.execute(Update(key, f"SET {name} = :v", "", {}, {":v": value}))
    api.context.credentials._cache.clear()


# --- By an API key ---------------------------------------------------------------------------------


def test_a_key_signs_in_with_its_own_scopes_and_its_name_is_on_record(api: Api) -> None:
    key_id, key = api_key(api, "manage")
    status, answer = sign_in(api, apiKey=key)
    assert (status, answer["scopes"], answer["signedInWith"]) == (201, ["manage"], "apiKey")
    assert (answer["actor"], answer["name"]) == (key_id, "helpdesk")
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}
    credential = answer["session"]
    assert api.call(f"PATCH {E}", path, {"seatCount": 5}, key=credential)[0] == 200
    changes = api.call(f"GET {E}/changes", path)[1]["items"]
    assert (changes[0]["actor"], changes[0]["actorName"]) == (key_id, "helpdesk")
    assert api.call("GET /v1/api-keys", key=credential)[0] == 403


def test_a_revoked_key_takes_its_sessions_along(api: Api) -> None:
    key_id, key = api_key(api, "report")
    credential = session(api, key)
    assert api.call(OWN, key=credential)[0] == 200
    assert api.call("DELETE /v1/api-keys/{keyId}", {"keyId": key_id})[0] == 204
    api.context.credentials._cache.clear()  # a minute later
    assert api.call(OWN, key=credential)[0] == 401


def test_a_key_that_expires_takes_its_sessions_along(api: Api) -> None:
    body = {"name": "for a while", "scopes": ["report"], "expiresIn": "P1D"}
    status, made, _ = api.call("POST /v1/api-keys", body=body)
    assert status == 201
    listed = api.call("GET /v1/api-keys")[1]["items"]
    assert [each["expiresAt"] for each in listed] == [made["expiresAt"]]
    credential = session(api, made["key"])
    change_record(api, made["key"], expiresAt=int(time.time()) - 1)
    status, problem, _ = api.call("GET /v1/entitlements", key=made["key"])
    assert (status, problem["detail"]) == (401, "The key has expired.")
    assert api.call(OWN, key=credential)[0] == 401
    assert sign_in(api, apiKey=made["key"])[0] == 401


def test_another_bootstrap_key_ends_the_sessions_of_the_one_before(api: Api) -> None:
    credential = session(api)
    later = Api(api.dynamodb, BOOTSTRAP_KEY_HASH=auth.hash_key("bootstrap." + "c" * 40))
    assert later.call(OWN, key=credential)[0] == 401
    assert api.call(OWN, key=credential)[0] == 200


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"apiKey": BOOTSTRAP_KEY, "code": "x"},
        {"apiKey": ""},
        {"password": "x"},
    ],
)
def test_a_request_needs_exactly_one_proof(api: Api, proof: dict[str, str]) -> None:
    assert sign_in(api, **proof)[0] == 400


@pytest.mark.parametrize("key", ["bootstrap." + "x" * 40, "nonsense", f"{'ses_a' * 3}.{'a' * 40}"])
def test_a_wrong_key_signs_nobody_in(api: Api, key: str) -> None:
    assert sign_in(api, apiKey=key)[0] == 401


def test_a_session_or_a_license_key_is_no_api_key(api: Api) -> None:
    entitlement_id = api.create()
    made = api.call(f"POST {E}/license-keys", {"entitlementId": entitlement_id}, {})[1]
    for other in (session(api), made["key"]):
        assert sign_in(api, apiKey=other)[0] == 401
    # Nor is a session a key in the header of one.
    headers = {"authorization": f"Bearer {session(api)}"}
    assert api.call(OWN, headers=headers, key=None)[0] == 401


# --- By a link -------------------------------------------------------------------------------------


def test_a_link_signs_in_once(api: Api) -> None:
    _, key = api_key(api, "report")
    status, made, _ = api.call("POST /v1/console/sign-in-links", body={}, key=key)
    assert status == 201
    page, _, code = made["url"].partition("#code=")
    assert page.endswith("/console")
    status, answer = sign_in(api, code=code)
    assert (status, answer["scopes"], answer["signedInWith"]) == (201, ["report"], "link")
    entries = api.call("GET /v1/audit")[1]["items"]
    assert [each["type"] for each in entries][:2] == ["session.created", "sign_in_link.created"]
    assert entries[0]["changes"] == {"signedInWith": {"before": None, "after": "link"}}
    assert sign_in(api, code=code)[0] == 401


def test_a_code_opens_nothing_by_itself_and_ends(api: Api) -> None:
    made = api.call("POST /v1/console/sign-in-links", body={"expiresIn": "PT1M"})[1]
    code = made["url"].partition("#code=")[2]
    for scheme in ("Session", "Bearer", "Portal", "License"):
        headers = {"authorization": f"{scheme} {code}"}
        assert api.call(OWN, headers=headers, key=None)[0] == 401
    change_record(api, code, expiresAt=int(time.time()))
    assert sign_in(api, code=code)[0] == 401
    assert sign_in(api, code=code[:-1] + ("A" if code[-1] != "A" else "B"))[0] == 401


def test_a_link_is_made_by_keys_alone_and_for_a_day_at_most(api: Api) -> None:
    where = "POST /v1/console/sign-in-links"
    assert api.call(where, body={}, key=session(api))[0] == 403
    assert api.call(where, body={"expiresIn": "P2D"})[0] == 400


def test_a_link_of_a_revoked_key_is_worth_nothing(api: Api) -> None:
    key_id, key = api_key(api, "report")
    made = api.call("POST /v1/console/sign-in-links", body={}, key=key)[1]
    assert api.call("DELETE /v1/api-keys/{keyId}", {"keyId": key_id})[0] == 204
    api.context.credentials._cache.clear()
    code = made["url"].partition("#code=")[2]
    assert sign_in(api, code=code)[0] == 401
    # It was not spent: nothing was written.
    assert api.dynamodb.execute(Get(credential_key(code.split(".")[0]))) is not None


# --- How long ----------------------------------------------------------------------------------------


def test_an_idle_session_ends_and_one_in_use_goes_on(api: Api) -> None:
    now = int(time.time())
    credential = session(api)
    change_record(api, credential, idleAt=now + 60)
    status, answer, _ = api.call("POST /v1/console/session/activity", key=credential)
    assert status == 200
    item = api.dynamodb.execute(Get(credential_key(credential.split(".")[0])))
    assert item is not None
    assert item["idleAt"] >= now + 3_600
    change_record(api, credential, idleAt=now - 1)
    assert api.call(OWN, key=credential)[0] == 401
    assert api.call("POST /v1/console/session/activity", key=credential)[0] == 401
    assert answer["sessionId"] == credential.split(".")[0]


def test_reading_does_not_keep_a_session_and_activity_is_written_rarely(api: Api) -> None:
    credential = session(api)
    key = credential_key(credential.split(".")[0])
    before = api.dynamodb.execute(Get(key))
    for _ in range(3):
        assert api.call("GET /v1/entitlements", key=credential)[0] == 200
        assert api.call("POST /v1/console/session/activity", key=credential)[0] == 200
    assert api.dynamodb.execute(Get(key)) == before


def test_another_process_learns_that_a_session_goes_on(api: Api) -> None:
    """What a process remembers says that it is idle; the table knows better."""
    now = int(time.time())
    credential = session(api)
    key = credential_key(credential.split(".")[0])
    api.dynamodb.execute(Update(key, "SET idleAt = :v", "", {}, {":v": now - 5}))
    assert api.call(OWN, key=credential)[0] == 401
    api.dynamodb.execute(Update(key, "SET idleAt = :v", "", {}, {":v": now + 600}))
    assert api.call(OWN, key=credential)[0] == 200


def test_eight_hours_are_the_end(api: Api) -> None:
    now = int(time.time())
    credential = session(api)
    change_record(api, credential, expiresAt=now + 30, idleAt=now + 10)
    answer = api.call("POST /v1/console/session/activity", key=credential)[1]
    assert answer["idleAt"] <= answer["expiresAt"]
    change_record(api, credential, expiresAt=now - 1, idleAt=now + 3_000)
    assert api.call(OWN, key=credential)[0] == 401


def test_an_administrator_lists_and_ends_sessions(api: Api) -> None:
    _, key = api_key(api, "report")
    theirs, own = session(api, key), session(api)
    listed = api.call("GET /v1/console/sessions", key=own)[1]["items"]
    assert {each["sessionId"] for each in listed} == {s.split(".")[0] for s in (theirs, own)}
    assert not {"hash", "session"} & {name for each in listed for name in each}
    assert api.call("GET /v1/console/sessions", key=theirs)[0] == 403
    path = {"sessionId": theirs.split(".")[0]}
    end = "DELETE /v1/console/sessions/{sessionId}"
    assert api.call(end, path, key=theirs)[0] == 403
    assert api.call(end, path, key=own)[0] == 204
    api.context.credentials._cache.clear()  # a minute later
    assert api.call(OWN, key=theirs)[0] == 401
    assert api.call(end, path, key=own)[0] == 404
    # No other credential is ended so.
    key_id = key.split(".")[0]
    assert api.call(end, {"sessionId": key_id}, key=own)[0] == 404
    types = [each["type"] for each in api.call("GET /v1/audit")[1]["items"]]
    assert types.count("session.created") == 2
    assert types.count("session.ended") == 1


def test_signing_out_ends_the_session(api: Api) -> None:
    credential = session(api)
    assert api.call("DELETE /v1/console/session", key=credential)[0] == 204
    api.context.credentials._cache.clear()
    assert api.call(OWN, key=credential)[0] == 401
    assert api.call(OWN)[0] == 403  # an API key has no session


# --- With an OpenID provider -------------------------------------------------------------------------


@pytest.fixture
def openid(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    with provider() as fake:
        checks = SignIn(fake.environment)
        monkeypatch.setattr(console_sessions, "sign_in", lambda: checks)
        yield fake


def test_a_person_signs_in_with_the_scopes_of_the_roles(api: Api, openid: FakeProvider) -> None:
    entitlement_id = api.create()
    path = {"entitlementId": entitlement_id}
    status, answer = sign_in(api, idToken=openid.token())
    assert (status, answer["scopes"], answer["actor"]) == (201, ["report"], "sam@vendor.example")
    credential = answer["session"]
    assert api.call(f"PATCH {E}/follow-up", path, {"note": "called"}, key=credential)[0] == 200
    assert api.call(f"PATCH {E}", path, {"seatCount": 9}, key=credential)[0] == 403
    changes = api.call(f"GET {E}/changes", path)[1]["items"]
    assert (changes[0]["actor"], changes[0]["actorName"]) == ("sam@vendor.example", "Sam")
    follow_up = api.call(f"GET {E}/follow-up", path)[1]
    assert follow_up["changedBy"] == "sam@vendor.example"
    # By whom: found in the audit trail.
    found = api.call("GET /v1/audit", query={"actor": "sam@vendor.example"})[1]["items"]
    assert {each["type"] for each in found} == {"session.created", "follow_up.updated"}


def test_several_roles_add_up(api: Api, openid: FakeProvider) -> None:
    token = openid.token(groups=["Helpdesk", "Account Managers"], algorithm="ES256")
    assert sign_in(api, idToken=token)[1]["scopes"] == ["report", "support"]
    token = openid.token(groups="Admins")
    assert sign_in(api, idToken=token)[1]["scopes"] == ["admin", "manage", "report", "support"]


def test_a_token_is_good_once_however_it_is_written(api: Api, openid: FakeProvider) -> None:
    token = openid.token(algorithm="ES256")
    assert sign_in(api, idToken=token)[0] == 201
    assert sign_in(api, idToken=token)[0] == 401
    # ECDSA: (r, n - s) is another signature of the same text, and as good.
    head, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    again = f"{head}.{base64.urlsafe_b64encode(other).decode().rstrip('=')}"
    jwt.decode(again, openid.ec.public_key(), ["ES256"], audience=CLIENT)
    assert sign_in(api, idToken=again)[0] == 401


def test_tokens_that_are_refused(api: Api, openid: FakeProvider) -> None:
    now = int(time.time())
    with provider() as other:
        tokens = {
            "another client": openid.token(aud="someone-else"),
            "for several, of another": openid.token(aud=[CLIENT, "b"], azp="b"),
            "for several, of nobody": openid.token(aud=[CLIENT, "b"]),
            "another issuer": openid.token(iss="https://evil.example"),
            "another's key": openid.token(key=other.rsa),
            "expired": openid.token(exp=now - 120),
            "too old": openid.token(iat=now - 500),
            "of the future": openid.token(iat=now + 500),
            "without a time": openid.token(iat=None),
            "without a subject": openid.token(sub=None),
            "not a token": "a.b.c",
        }
        secret = openid.rsa.public_key().public_numbers().n.to_bytes(256)
        claims = openid.claims()
        tokens["shared secret"] = jwt.encode(claims, secret, "HS256", headers={"kid": "r"})
        tokens["unsigned"] = jwt.encode(claims, "", "none", headers={"kid": "r"})
        for what, token in tokens.items():
            assert sign_in(api, idToken=token)[0] == 401, what
    assert sign_in(api, idToken=openid.token(aud=[CLIENT, "b"], azp=CLIENT))[0] == 201


@pytest.mark.parametrize(
    "claims",
    [
        {"groups": ["Everybody"]},
        {"groups": None},
        {"groups": {"a": 1}},
        {"email": None},
        {"email": "no address"},
        {"email_verified": False},
        {"email_verified": "false"},
        {"groups": "No Admins here"},
        {"email": "a@b\n.example"},
    ],
)
def test_who_has_no_role_or_address_is_told_so(
    api: Api, openid: FakeProvider, claims: dict[str, Any]
) -> None:
    status, answer = sign_in(api, idToken=openid.token(**claims))
    assert status == 403
    assert answer["detail"].startswith(("You signed in", "Your account", "The provider"))


def test_a_provider_that_is_away_is_said_so_and_nothing_is_used_up(
    api: Api, openid: FakeProvider
) -> None:
    token = openid.token()
    openid.is_down = True
    assert sign_in(api, idToken=token)[0] == 503
    openid.is_down = False
    assert sign_in(api, idToken=token)[0] == 201


def test_the_description_of_another_issuer_is_not_used(api: Api, openid: FakeProvider) -> None:
    openid.other_issuer = "https://evil.example"
    assert sign_in(api, idToken=openid.token())[0] == 503


def test_without_a_provider_no_token_is_good(api: Api) -> None:
    with provider() as fake:
        assert sign_in(api, idToken=fake.token())[0] == 401


def test_roles_are_read_from_claims_of_every_form() -> None:
    nested = {"realm_access": {"roles": ["a", 7]}, "https://x.example/roles": "Not an admin"}
    assert values_at(nested, "realm_access.roles") == ["a"]
    assert values_at(nested, "https://x.example/roles") == ["Not an admin"]
    assert values_at(nested, "realm_access.none") == []
    assert values_at({}, "roles") == []
    assert roles_of("A = b=sales, C=admin,D=owner") == {"A = b": "sales", "C": "admin"}
    assert roles_of("")["support"] == "support"


# --- What roles may do ---------------------------------------------------------------------------------

# By hand, from the guide: what somebody of each role may change.
MAY = {
    "report": {
        "updateFollowUp",
        "decideTrueUpLine",
        "updateSeatRequest",
        "createReport",
        "createTrueUp",
    },
    "support": {
        "releaseSeatOf",
        "createPortalLink",
        "revokePortalLink",
        "updateSeatRequest",
        "createWebhook",
        "updateWebhook",
        "deleteWebhook",
        "rotateWebhookSecret",
        "testWebhook",
        "resendDelivery",
        "resendFailedDeliveries",
    },
}


def test_support_makes_links_for_viewers_alone(api: Api) -> None:
    """A link of an admin could do what support may not, and outlives the session."""
    _, key = api_key(api, "support")
    path = {"entitlementId": api.create()}
    where = f"POST {E}/portal-links"
    assert api.call(where, path, {"role": "admin"}, key=key)[0] == 403
    assert api.call(where, path, {"role": "viewer"}, key=key)[0] == 201
    assert api.call(where, path, {"role": "admin"})[0] == 201


# Sessions themselves.
ANYBODY = {"continueSession", "endOwnSession", "createSignInLink"}


@pytest.mark.parametrize("scope", MAY)
def test_what_a_role_may_change(scope: str) -> None:
    changing = {
        route.id
        for key, route in ROUTES.items()
        if not key.startswith("GET ") and scope in route.scopes
    }
    assert changing == MAY[scope] | ANYBODY
