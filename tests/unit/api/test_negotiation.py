"""Which encoding of an answer is sent: RFC 9110, 12.5.3 and 12.4.2."""

import pytest

from shared.api.negotiation import encoding


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("br;q=0, gzip", "gzip"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("GZIP ; Q=0.8", "gzip"),
        ("*", "br"),
        ("*;q=0", None),
        ("br;q=0, *", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("x-gzip", "gzip"),
        ("zstd", None),
        ("brotli", None),
        ("br;q=2", None),
        ("br;q=, gzip;q=0.001", "gzip"),
        (",,gzip,,", "gzip"),
    ],
)
def test_encodings(header: str | None, chosen: str | None) -> None:
    assert encoding(header, ("br", "gzip")) == chosen
