"""Entitlements by the vendor's own id: read one, create or update it."""

from functools import partial

from functions.manage import documents, entitlements, external_ids
from shared.api.request import Request, Response
from shared.dynamodb.patterns import ROUNDS
from shared.dynamodb.requests import Item
from shared.problems import (
    Contention,
    ExternalIdTaken,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
)


def read(request: Request) -> Response:
    """Read the entitlement with this `externalId`."""
    found = _find(request)
    if found is None:
        raise NotFound("No entitlement has this externalId.")
    return entitlements.read_of(request, found)


def put(request: Request) -> Response:
    """Create the entitlement with this `externalId`, or change it by what is sent.

    Members that are not sent keep their values, as in a merge patch. So whoever sends the same
    thing again changes nothing, whatever others have set meanwhile.

    Raises:
        InvalidRequest, PreconditionFailed, Contention.
    """
    external_id = request.path["externalId"]
    if request.body.get("externalId", external_id) != external_id:
        raise InvalidRequest.at("/externalId", "must be that of the path, or missing")
    body = {**request.body, "externalId": external_id}
    for _ in range(ROUNDS):
        found = _find(request)
        _check_preconditions(request, exists=found is not None)
        try:
            if found:
                return entitlements.update_of(request, found, body, partial(_check_id, external_id))
            # What the path names is created once; a repetition is an update.
            headers = {k: v for k, v in request.headers.items() if k != "idempotency-key"}
            made = documents.patch_of_nothing(body)
            return entitlements.create(request._replace(body=made, headers=headers))
        except (ExternalIdTaken, NotFound):
            continue  # another request has created it, or deleted it, meanwhile
    raise Contention


def _check_id(external_id: str, item: Item) -> None:
    """Leave an entitlement alone that has got another `externalId` meanwhile.

    Raises:
        NotFound.
    """
    if item["document"].get("externalId") != external_id:
        raise NotFound("No entitlement has this externalId.")


def _find(request: Request) -> str | None:
    return request.dynamodb.run(external_ids.find(request.path["externalId"]))


def _check_preconditions(request: Request, *, exists: bool) -> None:
    """Refuse what `If-None-Match: *` and `If-Match` exclude; the version is compared later.

    Raises:
        InvalidRequest, PreconditionFailed.
    """
    if not exists and "if-match" in request.headers:
        raise PreconditionFailed("No entitlement has this externalId.")
    unwanted = request.headers.get("if-none-match")
    if unwanted is None:
        return
    if unwanted.strip() != "*":
        raise InvalidRequest.at("/If-None-Match", "must be *", place="header")
    if exists:
        raise PreconditionFailed("An entitlement has this externalId.")
