"""The files of reports, for anybody with a link. So a small function answers them."""

import os

from shared import aws, report_links
from shared.api.request import Request, Response
from shared.dynamodb.keys import report_key
from shared.dynamodb.requests import Get, Item, Operation, send
from shared.problems import NotFound

# How long the S3 address behind a link is valid.
SECONDS = 300


def open_file(request: Request) -> Response:
    """Redirect to the file, if the link is valid."""
    found = request.dynamodb.run(_find(request))
    if found is None:
        raise NotFound("This link is not known, or has expired; a new one is in the report.")
    item, name = found
    period = item["period"]
    about = report_links.period_name(period) or period["from"][:10]
    address = _address(
        report_links.file_name(item["folder"], name),
        f"overdraft-{about}-v{item['version']}.{name}",
        is_page=name == "html",
    )
    return Response(302, None, {"location": address, "referrer-policy": "no-referrer"})


def _find(request: Request) -> Operation[tuple[Item, str] | None]:
    found = yield from report_links.read(request.path["token"], request.now)
    if found is None:
        return None
    item = yield from send(Get(report_key(found[0])))
    if item is None or found[1] not in item.get("files", ()):
        return None
    return item, found[1]


def _address(name: str, shown_as: str, *, is_page: bool) -> str:
    """An S3 address from which anybody can read this file."""
    kind = "inline" if is_page else "attachment"
    url: str = aws.client("s3").generate_presigned_url(
        "get_object",
        Params={
            "Bucket": os.environ.get("REPORTS_BUCKET", ""),
            "Key": name,
            "ResponseContentDisposition": f'{kind}; filename="{shown_as}"',
        },
        ExpiresIn=SECONDS,
    )
    return url
