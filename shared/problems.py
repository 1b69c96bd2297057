"""Problems (RFC 9457): everything that can go wrong, as exception types.

The domain raises them; `api/app.py` turns them into answers. So they are below both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

TYPE_PREFIX = "https://overdraft.example/problems/"


class Problem(Exception):
    """An answer other than the one asked for.

    `extensions` are members of the problem's JSON besides the standard ones; `headers` are sent
    with it.
    """

    type = "internal"
    status = 500
    title = "Something went wrong on our side."

    def __init__(
        self,
        detail: str = "",
        *,
        extensions: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.extensions = dict(extensions or {})
        self.headers = dict(headers or {})

    def body(self, instance: str) -> dict[str, Any]:
        """The problem as JSON; `instance` is the request id."""
        return {
            "type": TYPE_PREFIX + self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail or self.title,
            "instance": instance,
            **self.extensions,
        }


class Internal(Problem):
    """A defect. The log has the details under the request id."""


class InvalidRequest(Problem):
    """Input that breaks the contract; `errors` say where and how."""

    type = "invalid-request"
    status = 400
    title = "The request is not valid."

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        shown = [f"{error['pointer'] or 'body'}: {error['detail']}" for error in errors[:3]]
        if len(errors) > len(shown):
            shown.append(f"and {len(errors) - len(shown)} more, see errors")
        detail = "; ".join(shown)
        super().__init__(detail, extensions={"errors": [dict(error) for error in errors]})

    @classmethod
    def at(cls, pointer: str, detail: str, *, place: str = "body") -> "InvalidRequest":
        """One error; `pointer` is a JSON pointer into `place`: body, query, path or header."""
        error = {"pointer": pointer, "detail": detail}
        return cls([error if place == "body" else {**error, "in": place}])


class Unauthorized(Problem):
    """No credential, or an unknown one."""

    type = "unauthorized"
    status = 401
    title = "A valid credential is required."

    def __init__(self, detail: str = "") -> None:
        schemes = ("Bearer", "License", "Portal", "Session")
        challenge = ", ".join(f'{scheme} realm="overdraft"' for scheme in schemes)
        super().__init__(detail, headers={"www-authenticate": challenge})


class LinkExpired(Problem):
    """An expired portal link. The vendor can make a new one."""

    type = "link-expired"
    status = 401
    title = "This link has expired."

    def __init__(self) -> None:
        super().__init__(headers={"www-authenticate": 'Portal realm="overdraft"'})


class Forbidden(Problem):
    """The credential is known and may not do this."""

    type = "forbidden"
    status = 403
    title = "This credential may not do that."


class EntitlementSuspended(Problem):
    """The vendor has suspended the entitlement."""

    type = "entitlement-suspended"
    status = 403
    title = "The entitlement is suspended."


class EntitlementExpired(Problem):
    """Its validity has ended."""

    type = "entitlement-expired"
    status = 403
    title = "The entitlement has expired."


class EntitlementNotYetValid(Problem):
    """Its validity has not begun."""

    type = "entitlement-not-yet-valid"
    status = 403
    title = "The entitlement is not valid yet."


class NotFound(Problem):
    """It does not exist, or this credential may not see it."""

    type = "not-found"
    status = 404
    title = "Not found."


class MethodNotAllowed(Problem):
    """The address exists, the method does not."""

    type = "method-not-allowed"
    status = 405
    title = "This method is not allowed here."

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(f"Allowed: {', '.join(allowed)}.", headers={"allow": ", ".join(allowed)})


class Denied(Problem):
    """Nothing is free below a limit. The attempt is on record."""

    status = 409


class HardCapReached(Denied):
    """No seat is free below the hard cap. The attempt is on record."""

    type = "hard-cap-reached"
    title = "The hard cap is reached."


class CustomerCapReached(Denied):
    """The cap that the customer has set is reached. The attempt is on record."""

    type = "customer-cap-reached"
    title = "The customer's own cap is reached."


class OverdraftPeriodEnded(Denied):
    """Everything purchased is in use, and the time for more is over. The attempt is on record."""

    type = "overdraft-period-ended"
    title = "The overdraft period has ended."


class BorrowLimitReached(Problem):
    """As many seats are borrowed as may be at a time. A seat with the usual lease may be free."""

    type = "borrow-limit-reached"
    status = 409
    title = "No more seats can be borrowed at the moment."


class IdempotencyConflict(Problem):
    """An `Idempotency-Key` was used again with another request."""

    type = "idempotency-conflict"
    status = 409
    title = "This Idempotency-Key was used for a different request."


class IdempotencyKeyExpired(Problem):
    """The time in the key of a journaled request is too long ago: whether it counted is unknown."""

    type = "idempotency-key-expired"
    status = 409
    title = "The Idempotency-Key of this journaled request is too old."


class IdempotencyKeyInFuture(Problem):
    """The time in the key of a journaled request is ahead of ours. Nothing was counted."""

    type = "idempotency-key-in-future"
    status = 409
    title = "The Idempotency-Key of this journaled request is ahead of the server's time."


class ChangeNotPending(Problem):
    """A scheduled change that was applied or refused cannot be cancelled."""

    type = "change-not-pending"
    status = 409
    title = "The scheduled change is not pending any more."


class TrueUpNotFinal(Problem):
    """A month that is not over, or whose history is not complete, cannot be decided about."""

    type = "true-up-not-final"
    status = 409
    title = "What this month costs may still change."


class ExternalIdTaken(Problem):
    """Another entitlement has the `externalId`."""

    type = "external-id-taken"
    status = 409
    title = "Another entitlement has this externalId."


class PreconditionFailed(Problem):
    """`If-Match` names a version that is not current."""

    type = "precondition-failed"
    status = 412
    title = "It has changed since it was read."


class PayloadTooLarge(Problem):
    """The body is larger than this route accepts."""

    type = "payload-too-large"
    status = 413
    title = "The request body is too large."


class UnsupportedMediaType(Problem):
    """The body is not JSON by its content type."""

    type = "unsupported-media-type"
    status = 415
    title = "The request body must be JSON."


class Throttled(Problem):
    """Too many requests from this credential."""

    type = "throttled"
    status = 429
    title = "Too many requests."


class Contention(Problem):
    """Too many other requests were faster. Whether this one took effect is not known."""

    type = "contention"
    status = 503
    title = "Too many changes at the same moment."

    def __init__(self) -> None:
        detail = "Send the same request again: repeating it is safe."
        super().__init__(detail, headers={"retry-after": "1"})


class Unavailable(Problem):
    """The database did not answer within the bounded retries."""

    type = "unavailable"
    status = 503
    title = "The service is unavailable at the moment."

    def __init__(self, detail: str = "Send the same request again.") -> None:
        super().__init__(detail, headers={"retry-after": "2"})


def kinds() -> list[type[Problem]]:
    """Every kind of problem that an answer can have."""
    return [kind for each in Problem.__subclasses__() for kind in (each.__subclasses__() or [each])]
