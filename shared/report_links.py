"""Links to a report's files. They work for anybody who has them, until they expire.

An address that S3 signs for a function's own credentials expires with them, within hours. So a link
has a token of ours, which is answered with an address of S3 that is valid for minutes.
"""

from collections.abc import Mapping
from typing import Any

from shared import signed_tokens
from shared.clock import to_rfc3339
from shared.dynamodb.requests import Item, Operation

SECONDS = 7 * 86_400
CONTEXT = "report"
SECRET = "report-link"  # noqa: S105 - its name


def period_name(period: Mapping[str, Any]) -> str | None:
    """The month, quarter or week of a report. Those of earlier releases lack what came later."""
    return period["month"] or period.get("quarter") or period.get("week")


def make(report: Item, public_url: str, now_ms: int) -> Operation[dict[str, dict[str, Any]]]:
    """A link to each file of a published report, by format."""
    secret = yield from signed_tokens.own_secret(SECRET)
    expires = now_ms // 1000 + SECONDS
    made = {}
    for name, size in report["files"].items():
        token = signed_tokens.seal(secret, [report["reportId"], name, expires], CONTEXT)
        made[name] = {
            "format": name,
            "url": f"{public_url}/v1/report-files/{token}",
            "expiresAt": to_rfc3339(expires * 1000),
            "bytes": size,
        }
    return made


def link_to(report_id: str, name: str, public_url: str, now_ms: int) -> Operation[str]:
    """A link to one file, by who may not make the secret; empty if there is none yet."""
    secret = yield from signed_tokens.kept_secret(SECRET)
    if secret is None:
        return ""
    token = signed_tokens.seal(secret, [report_id, name, now_ms // 1000 + SECONDS], CONTEXT)
    return f"{public_url}/v1/report-files/{token}"


def read(token: str, now: int) -> Operation[tuple[str, str] | None]:
    """The report id and the format of a link; None: made up, changed, or expired."""
    secret = yield from signed_tokens.kept_secret(SECRET)
    if secret is None:  # no link was ever made
        return None
    try:
        report_id, name, expires = signed_tokens.unseal(secret, token, CONTEXT)
    except ValueError:
        return None
    return (report_id, name) if now < expires else None


def file_name(folder: str, name: str) -> str:
    """The name of the file of a format, in the folder of a published report."""
    return f"{folder}report.{name}"
