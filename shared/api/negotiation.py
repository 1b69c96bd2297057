"""Content negotiation: which encoding of an answer a client accepts (RFC 9110, 12.5.3)."""

import re
from collections.abc import Sequence

_ENTRY = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9a-z-]+)\s*(?:;\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?"
)


def encoding(header: str | None, offered: Sequence[str]) -> str | None:
    """The encoding that a client prefers of those offered, the first among equals.

    None: the answer is sent as it is, because there was no header, or the client prefers that, or
    it accepts none of the encodings. (A client that refuses `identity` as well gets it all the
    same: RFC 9110 allows a 406, which would help nobody.)
    """
    weights: dict[str, float] = {}
    for entry in (header or "").lower().split(","):
        match = _ENTRY.fullmatch(entry)
        if match:
            weights.setdefault(match[1].removeprefix("x-"), float(match[2] or 1))
    rest = weights.get("*", 0.0)
    liked = {name: weights.get(name, rest) for name in offered}
    best = max(offered, key=lambda name: liked[name], default=None)
    if best is None or liked[best] == 0 or liked[best] < weights.get("identity", 0.0):
        return None
    return best
