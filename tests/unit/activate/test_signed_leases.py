"""What signs leases: the form of signatures and keys, and KMS when it fails."""

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from functions.activate import signed_leases
from functions.manage import lease_keys
from shared import kms
from tests.support.kms import ARN, OTHER, Kms, serving
from tests.unit.conftest import Api

E = "/v1/entitlements/{entitlementId}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Kms]]:
    with serving(monkeypatch) as served:
        yield served


def taken(api: Api, **terms: Any) -> tuple[int, Any]:
    path = {"entitlementId": api.create(leasePeriod="PT1H", **terms)}
    body = {"seatId": "alice", "signed": True}
    return api.call(f"POST {E}/activations", path, body)[:2]


def test_a_lease_is_verified_by_the_published_keys(api: Api, server: type[Kms]) -> None:
    status, answer = taken(api)
    assert status == 201
    status, published, headers = api.call("GET /.well-known/jwks.json", key=None)
    assert (status, headers["cache-control"]) == (200, "max-age=300")
    assert [each["kid"] for each in published["keys"]] == [kms.key_id(ARN), kms.key_id(OTHER)]
    keys = {each.key_id: each for each in jwt.PyJWKSet(published["keys"]).keys}
    lease = answer["signedLease"]
    kid = jwt.get_unverified_header(lease)["kid"]
    assert jwt.decode(lease, keys[kid], algorithms=["ES256"])["seatId"] == "alice"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(lease, keys[kms.key_id(OTHER)], algorithms=["ES256"])


@pytest.mark.parametrize(
    ("faults", "is_signed", "calls"),
    [
        ([500], True, 2),
        (["ThrottlingException"], True, 2),
        (["hang up"], True, 2),
        ([500, 503], False, 2),
        (["hang up", "ThrottlingException"], False, 2),
        (["KMSInvalidStateException"], False, 1),
        (["com.amazonaws.kms#AccessDeniedException"], False, 1),
    ],
)
def test_a_seat_is_granted_whether_or_not_kms_answers(
    api: Api, server: type[Kms], faults: list[int | str], is_signed: bool, calls: int
) -> None:
    server.faults[:] = faults
    status, answer = taken(api)
    assert status == 201
    assert (answer["signedLease"] is not None) == is_signed
    assert server.calls == ["Sign"] * calls


def test_nobody_pays_who_does_not_ask(api: Api, server: type[Kms]) -> None:
    path = {"entitlementId": api.create()}
    status, answer, _ = api.call(f"POST {E}/activations", path, {"seatId": "alice"})
    assert (status, "signedLease" in answer, server.calls) == (201, False, [])
    for wrong in ("true", 1, None):
        body = {"seatId": "alice", "signed": wrong}
        status, refused, _ = api.call(f"POST {E}/activations", path, body)
        assert (status, refused["errors"][0]["pointer"]) == (400, "/signed")


def test_all_keys_or_none(api: Api, server: type[Kms]) -> None:
    """Whoever keeps what is published must not forget a key because KMS failed."""
    server.faults[:] = [500, 500]
    status, problem, _ = api.call("GET /.well-known/jwks.json", key=None)
    assert (status, problem["type"].rsplit("/", 1)[1]) == (503, "unavailable")
    assert api.call("GET /.well-known/jwks.json", key=None)[0] == 200
    calls = len(server.calls)
    assert api.call("GET /.well-known/jwks.json", key=None)[0] == 200
    assert len(server.calls) == calls  # public keys never change


def test_without_a_key(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_leases, "_KEY", "")
    monkeypatch.setattr(lease_keys, "_KEYS", ())
    assert taken(api)[1]["signedLease"] is None
    assert api.call("GET /.well-known/jwks.json", key=None)[1] == {"keys": []}


# --- Forms ----------------------------------------------------------------------------------------


def test_signatures_of_every_length() -> None:
    """Numbers with leading zeros are shorter in DER, and those with a leading one are longer."""
    small, high = 7, 2**255 + 1
    for r, s in ((small, high), (high, small), (2**256 - 1, 1), (2**247, 2**8)):
        raw = kms.raw_signature(encode_dss_signature(r, s))
        assert (int.from_bytes(raw[:32]), int.from_bytes(raw[32:])) == (r, s)
    key = ec.generate_private_key(ec.SECP256R1())
    for number in range(200):
        der = key.sign(str(number).encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der)
        assert kms.raw_signature(der) == r.to_bytes(32) + s.to_bytes(32)


@pytest.mark.parametrize(
    "der", [b"", b"\x30", b"\x30\x00", b"\x31\x06\x02\x01\x01\x02\x01\x01", b"\x30\x03\x02\x05\x01"]
)
def test_what_is_no_signature(der: bytes) -> None:
    with pytest.raises(kms.KmsError):
        kms.raw_signature(der)


def test_a_key_on_another_curve_is_refused(server: type[Kms]) -> None:
    server.keys[ARN] = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(kms.KmsError, match="no public key on P-256"):
        kms.public_jwk(ARN)


def test_a_kid_does_not_tell_the_key() -> None:
    assert kms.key_id(ARN) != kms.key_id(OTHER)
    assert "one" not in kms.key_id(ARN)
    assert (
        hashlib.sha256(ARN.encode()).digest().startswith(base64.urlsafe_b64decode(kms.key_id(ARN)))
    )
