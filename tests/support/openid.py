"""An OpenID provider in a thread of this process, which signs whatever a test wants."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CLIENT = "console-client"


class FakeProvider:
    """Its keys and its tokens. `is_down`: it answers 503."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.is_down = False
        self.other_issuer = ""
        self.asked: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CONSOLE_ISSUER": self.issuer,
            "CONSOLE_CLIENT_ID": CLIENT,
            "CONSOLE_ROLES_CLAIM": "groups",
            "CONSOLE_ROLES": "Account Managers=sales,Helpdesk=support,Admins=admin",
        }

    def claims(self, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "1",
            "iat": now,
            "exp": now + 3_600,
            "email": "sam@vendor.example",
            "email_verified": True,
            "name": "Sam",
            "groups": ["Everybody", "Account Managers"],
            **more,
        }

    def token(self, *, algorithm: str = "RS256", key: Any = None, **more: Any) -> str:
        """A token with these claims; None takes one away."""
        claims = {name: value for name, value in self.claims(**more).items() if value is not None}
        kid = "e" if algorithm == "ES256" else "r"
        signer = key or (self.ec if algorithm == "ES256" else self.rsa)
        return jwt.encode(claims, signer, algorithm, headers={"kid": kid})

    def answer(self, path: str) -> Any:
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.other_issuer or self.issuer,
                "authorization_endpoint": f"{self.issuer}/auth",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        keys = [
            {**RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True), "kid": "r"},
            {**ECAlgorithm.to_jwk(self.ec.public_key(), as_dict=True), "kid": "e"},
        ]
        return {"keys": keys} if path == "/keys" else None


@contextmanager
def provider() -> Iterator[FakeProvider]:
    """A provider that listens on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = None if fake.is_down else fake.answer(self.path)
            body = json.dumps(found).encode()
            self.send_response(503 if found is None else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake = FakeProvider(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield fake
        server.shutdown()
