"""Keys of AWS KMS that sign leases: two calls, by `shared.aws_json` as those of DynamoDB.

An SDK client would double the start-up of the function that grants seats (decision 25).
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from shared.aws_json import AwsJson, Failures, Service, code_of, place_of

CONNECT_SECONDS = 0.5
READ_SECONDS = 1.5
ATTEMPTS = 2
# An elliptic curve's public key on P-256 as KMS answers it: what precedes its two coordinates.
# RFC 5480, section 2: SubjectPublicKeyInfo of id-ecPublicKey, prime256v1, an uncompressed point.
_P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_COORDINATE = 32


class KmsError(Exception):
    """KMS did not do it within the bounded attempts, or refused it."""


def key_id(arn: str) -> str:
    """The `kid` of a key: it follows from the key's ARN and does not tell it."""
    return _base64url(hashlib.sha256(arn.encode()).digest()[:12])


def sign(arn: str, message: bytes) -> bytes:
    """Sign a message by ES256; return r and s, 32 bytes each (RFC 7518, section 3.4).

    Raises:
        KmsError.
    """
    answer = _call(
        "Sign",
        {
            "KeyId": arn,
            "Message": base64.b64encode(hashlib.sha256(message).digest()).decode(),
            "MessageType": "DIGEST",
            "SigningAlgorithm": "ECDSA_SHA_256",
        },
    )
    return raw_signature(base64.b64decode(answer["Signature"]))


def raw_signature(der: bytes) -> bytes:
    """An ECDSA signature on P-256 as JWS has it, from DER (RFC 3279, section 2.2.3).

    Raises:
        KmsError: it is no such signature.
    """
    numbers, rest = list[bytes](), der[2:]
    if len(der) < 2 or der[0] != 0x30 or len(rest) != der[1]:
        raise KmsError("no signature in DER")
    while rest:
        if len(rest) < 2 or rest[0] != 2 or len(rest) < 2 + rest[1]:
            raise KmsError("no signature in DER")
        number, rest = rest[2 : 2 + rest[1]].lstrip(b"\0"), rest[2 + rest[1] :]
        numbers.append(number.rjust(_COORDINATE, b"\0"))
    if [len(number) for number in numbers] != [_COORDINATE, _COORDINATE]:
        raise KmsError("no signature on P-256")
    return b"".join(numbers)


@lru_cache(maxsize=64)
def public_jwk(arn: str) -> Mapping[str, str]:
    """The public key as a JSON Web Key (RFC 7517, RFC 7518 section 6.2); it never changes.

    Raises:
        KmsError.
    """
    encoded = base64.b64decode(_call("GetPublicKey", {"KeyId": arn})["PublicKey"])
    point = encoded.removeprefix(_P256_PREFIX)
    if len(encoded) != len(_P256_PREFIX) + 2 * _COORDINATE or len(point) != 2 * _COORDINATE:
        raise KmsError("no public key on P-256")
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": _base64url(point[:_COORDINATE]),
        "y": _base64url(point[_COORDINATE:]),
        "alg": "ES256",
        "use": "sig",
        "kid": key_id(arn),
    }


def jws(arn: str, kind: str, payload: Mapping[str, Any]) -> str:
    """A payload as a compact JWS (RFC 7515, section 7.1), signed by ES256; `kind` is its `typ`.

    Raises:
        KmsError.
    """
    header = {"alg": "ES256", "kid": key_id(arn), "typ": kind}
    parts = [_base64url(_encode(part).encode()) for part in (header, payload)]
    signed = ".".join(parts)
    return f"{signed}.{_base64url(sign(arn, signed.encode()))}"


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@lru_cache(maxsize=1)
def _client() -> AwsJson:
    """The client of KMS; one per process, made when something is signed."""
    return AwsJson(
        Service("kms", "TrentService", "1.1"),
        connect_seconds=CONNECT_SECONDS,
        read_seconds=READ_SECONDS,
        connections=8,
        **place_of("kms"),
    )


def _call(operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
    payload, problem = _encode(body).encode(), ""
    for _ in range(ATTEMPTS):
        try:
            status, answer = _client().send(operation, payload)
        except Failures as error:
            problem = type(error).__name__
            continue
        if status == 200:
            return answer
        problem = code_of(status, answer)
        if status < 500 and problem not in ("ThrottlingException", "LimitExceededException"):
            break
    raise KmsError(f"{operation}: {problem}")
