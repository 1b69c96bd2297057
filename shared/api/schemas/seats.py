"""Seats: activations, holders, persons, requests for more seats."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from shared.api.schemas.base import Input, Length, Name, Output, check_multiline
from shared.sales.overdraft_price import CHARGES, SEAT_BASES
from shared.sales.seat_requests import STATUSES
from shared.seats.encoding import SEAT_KEY
from shared.texts import (
    ATTRIBUTES_BYTES,
    CONTROL,
    SEAT_ID_BYTES,
    SEAT_NAME_BYTES,
    wrong_id,
)
from shared.usage.counter import MAX_LIMIT


def _nfc(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("must not contain control characters")
    if len(text.encode()) > SEAT_ID_BYTES:
        raise ValueError("must be at most 256 bytes of UTF-8")
    if wrong := wrong_id(text):
        raise ValueError(wrong)
    return text


class Seats(Output):
    """Seats in use, against both limits."""

    used: int
    purchased: int
    hard_cap: int | None
    overdraft_used: int
    available: int | None
    as_of: str | None = Field(
        None,
        description="Of a pool: the time of the newest change that is included."
        " Missing otherwise: the numbers are exact at the time of the answer.",
    )


class Overdraft(Output):
    """The clock of an overdraft with a period. It runs, or has ended and is not recovered yet."""

    since: str = Field(description="When more than purchased was used first.")
    ends_at: str = Field(description="From then on, what was purchased is the cap.")
    recovers_at: str | None = Field(
        description="When it is over, if use stays within what was purchased; null: it is above."
    )


class ActivationRequest(Input):
    """Who asks for a seat."""

    seat_id: Annotated[str, Field(min_length=1), AfterValidator(_nfc)] = Field(
        description="What identifies the holder: 1 to 256 bytes of UTF-8 in NFC, compared exactly."
    )
    seat_name: str | None = Field(None, description="At most 128 bytes; shown to people.")
    attributes: dict[str, str] | None = Field(
        None, description="At most 512 bytes in all; shown to people."
    )
    signed: bool = Field(
        default=False,
        description="Answer with a `signedLease`, with which software may go on offline.",
    )
    lease_period: Length | None = Field(
        None,
        description="Borrow the seat for so long: longer than the entitlement's `leasePeriod`, and"
        " at most its `maxLeasePeriod`. ISO 8601 in weeks to seconds, PT1M to P366D.",
    )

    @model_validator(mode="after")
    def _sizes(self) -> "ActivationRequest":
        name, attributes = self.seat_name or "", self.attributes or {}
        texts = [name, *attributes, *attributes.values()]
        if any(CONTROL.search(text) for text in texts):
            raise ValueError("must not contain control characters")
        pairs = [f'"{_escaped(key)}":"{_escaped(value)}"' for key, value in attributes.items()]
        size = len(("{" + ",".join(pairs) + "}").encode()) if attributes else 0
        if len(name.encode()) > SEAT_NAME_BYTES or size > ATTRIBUTES_BYTES:
            raise ValueError("seatName at most 128 bytes, attributes at most 512 bytes")
        return self


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class SeatCharge(Output):
    """What a seat would add to what overdraft costs in this month."""

    month: str
    currency: str
    amount: str
    expected_amount: str = Field(description="By the end of the month, if use goes on as now.")
    basis: Literal[SEAT_BASES]  # type: ignore[valid-type]
    charge: Literal[CHARGES]  # type: ignore[valid-type]


class Activation(Output):
    """A seat that is held. With `dryRun`, the ids and times of a new seat are null."""

    activation_id: str | None
    entitlement_id: str
    seat_id: str
    seat_name: str | None
    attributes: dict[str, str]
    is_overdraft_seat: bool = Field(description="Decided when granted; stays with this grant.")
    is_borrowed: bool = Field(description="Its lease is its own, longer than the entitlement's.")
    activated_at: str | None
    lease_expiry: str | None
    status: Literal["within_limit", "at_limit", "overdraft"]
    seats: Seats
    overdraft: Overdraft | None = Field(
        description="The clock of an overdraft with a period; null: none runs."
    )
    signed_lease: str | None = Field(
        None,
        description="Only with `signed`: a compact JWS (ES256) of the seat, with keys of"
        " `/.well-known/jwks.json`. Null if the lease was not written now, or could not be signed.",
    )
    dry_run: bool | None = Field(None, description="Only, and true, in answers to dryRun.")
    charge: SeatCharge | None = Field(
        None,
        description="Only in answers to dryRun: what the seat would add to what this month costs."
        " Null without a price, for a holder, and for license keys unless `showCharges`.",
    )


class LeaseKey(Output):
    """A public key (RFC 7517, RFC 7518 section 6.2)."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: str
    y: str
    alg: Literal["ES256"]
    use: Literal["sig"]
    kid: str


class LeaseKeys(Output):
    """The keys with which leases are signed, or were as long as something that they signed is good.

    Empty: leases are not signed.
    """

    keys: list[LeaseKey]


class HeldSeat(Output):
    """A seat in a list. Names follow from the stream; null if they have not arrived yet."""

    activation_id: str
    seat_key: str
    seat_id: str | None
    seat_name: str | None
    attributes: dict[str, str]
    is_overdraft_seat: bool
    is_borrowed: bool
    activated_at: str
    last_seen_at: str | None = Field(description="Exact to half a lease.")
    lease_expiry: str | None


class ActivationList(Output):
    """A page of the seats held, in the order of their keys."""

    items: list[HeldSeat]
    next_page_token: str | None


class SeatRequestInput(Input):
    """A customer's request for more seats, or for more of a usage limit."""

    seats: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="How many more seats; or `usageKey` and `quantity`."
    )
    usage_key: str | None = Field(None, description="The usage limit of which more is requested.")
    quantity: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = Field(
        None, description="How much more of it."
    )
    message: Annotated[str, Field(max_length=1_000), AfterValidator(check_multiline)] | None = None
    requester: Name | None = Field(
        None, description="Who asks: a name, or an address to answer to. Colleagues see it."
    )


class SeatRequestPatch(Input):
    """What became of a request: a JSON merge patch (RFC 7396)."""

    status: Literal[STATUSES] = "open"  # type: ignore[valid-type]
    note: Annotated[str, Field(max_length=1_000), AfterValidator(check_multiline)] | None = Field(
        None, description="Shown to the customer with the status."
    )


class SeatRequest(Output):
    """A request for more seats, or for more of a usage limit, as it is stored."""

    request_id: str
    seats: int | None
    usage_key: str | None
    quantity: int | None
    message: str | None
    requester: str | None = Field(description="Who asked, as they said.")
    requested_at: str
    requested_by: str = Field(description="The id of the portal link, or of the API key.")
    status: Literal[STATUSES]  # type: ignore[valid-type]
    note: str | None = Field(description="What the vendor says of it.")
    answered_at: str | None
    answered_by: str | None = Field(
        description="The id of the key; `purchase`: as many seats were purchased."
    )


class SeatRequestList(Output):
    """A page of requests for more seats."""

    items: list[SeatRequest]
    next_page_token: str | None


class PastGrant(Output):
    """A seat that was held and has ended."""

    from_: str = Field(alias="from")
    to: str
    reason: Literal["released", "lease_expired", "removed", "unknown"]
    is_overdraft_seat: bool


class Device(Output):
    """A value of the attribute `device` at a grant or a written renewal."""

    device: str
    from_: str = Field(alias="from")
    to: str = Field(description="Last seen; exact to half a lease.")


class Seat(Output):
    """A person's seat. Names follow from the stream, a moment later."""

    seat_key: str
    seat_id: str | None
    seat_name: str | None
    attributes: dict[str, str]
    is_held: bool
    activation_id: str | None = Field(description="Of the grant held, or of the last one.")
    is_overdraft_seat: bool
    activated_at: str | None
    last_seen_at: str | None = Field(description="Exact to half a lease.")
    ended_at: str | None
    end_reason: Literal["released", "lease_expired", "removed", "unknown"] | None
    grant_count: int
    grants: list[PastGrant] = Field(description="The last 20 that ended, the newest last.")
    devices: list[Device] = Field(description="The last 20 seen, the newest last.")
    erased_at: str | None


class SeatSelector(Input):
    """A person, by exactly one of both."""

    seat_id: str | None = Field(
        None, min_length=1, max_length=SEAT_ID_BYTES, description="The `seatId`, exactly."
    )
    seat_key: str | None = Field(
        None,
        pattern=SEAT_KEY.pattern,
        description="The seat key: 12 characters, as lists of seats have it.",
    )

    @model_validator(mode="after")
    def _one(self) -> "SeatSelector":
        if (self.seat_id is None) == (self.seat_key is None):
            raise ValueError("must have either seatId or seatKey")
        return self


class ReleasedSeat(Output):
    """What releasing a person's seat did."""

    seat_key: str
    was_held: bool = Field(description="Whether they held a seat, which is free now.")
    activation_id: str | None = Field(description="The grant that was released.")


class ErasedPerson(Output):
    """What erasing a person did."""

    seat_key: str = Field(description="Stands for the person in every record from now on.")
    erased_at: str
    is_held: bool = Field(description="Whether they still hold a seat: release it if they left.")
    activation_id: str | None = Field(description="The grant that they still hold.")


class SeatList(Output):
    """A page of seats, held or not, in the order of their keys."""

    items: list[Seat]
    next_page_token: str | None
