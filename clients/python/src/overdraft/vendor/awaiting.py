"""Made from openapi.json by `make openapi`: do not edit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from overdraft.vendor.awaiting_base import AsyncVendorBase
from overdraft.vendor.requests import path_of
from overdraft.vendor.types import (
    Activation,
    ActivationRequest,
    ApiKey,
    ApiKeyInput,
    Change,
    ChangedEntitlement,
    Consumption,
    ConsumptionRequest,
    Correction,
    CorrectionInput,
    CountInterval,
    CurrentUsage,
    CustomerCap,
    CustomerCapInput,
    DatedConsumption,
    DecidedTrueUpLine,
    DecisionInput,
    Delivery,
    DeliveryDetails,
    Denial,
    Entitlement,
    EntitlementInput,
    EntitlementPatch,
    ErasedPerson,
    Event,
    EventDelivery,
    Explanation,
    FollowUp,
    FollowUpEntry,
    FollowUpPatch,
    Forecast,
    HeldSeat,
    LicenseKey,
    LicenseKeyInput,
    ListedFollowUp,
    NewApiKey,
    NewLicenseKey,
    NewSecret,
    NewWebhook,
    OverdraftEpisode,
    PortalDenials,
    PortalGraph,
    PortalLink,
    PortalLinkCreated,
    PortalLinkInput,
    ReleasedSeat,
    Report,
    ReportInput,
    ResendAccepted,
    ResendInput,
    RotationInput,
    ScheduledChange,
    ScheduledChangeInput,
    Seat,
    SeatRequest,
    SeatRequestInput,
    SeatRequestPatch,
    SeatSelector,
    SentEmail,
    Session,
    SignInLink,
    SignInLinkInput,
    Stack,
    TestSent,
    TrueUp,
    TrueUpStatement,
    TrueUpStatementInput,
    TrueUpStatementLine,
    UsageDenial,
    UsageInterval,
    UsageOverdraftEpisode,
    UsagePeriod,
    Webhook,
    WebhookInput,
    WebhookPatch,
    WebhookTestInput,
)


class AsyncVendor(AsyncVendorBase):
    """A stack, as software of the vendor sees it: a method for each call."""

    async def take_seat(
        self,
        entitlement_id: str,
        body: ActivationRequest,
        *,
        dry_run: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Activation:
        """Take a seat, or renew the one that seatId holds.

        Args:
            dry_run: Answer what would happen; change and record nothing.
        """
        answer: Activation = await self._json(
            "POST",
            path_of("/v1/entitlements/{entitlementId}/activations", entitlement_id),
            query={"dryRun": dry_run},
            body=body,
            key=idempotency_key,
        )
        return answer

    def list_activations(
        self, entitlement_id: str, *, search: str | None = None, borrowed: bool | None = None
    ) -> AsyncIterator[HeldSeat]:
        """List who holds seats.

        Args:
            search: Only holders whose `seatId` begins so; case and accents do not matter. Ordered by `seatId`.
            borrowed: Only seats that are borrowed, or only the others.
        """
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/activations", entitlement_id),
            {"search": search, "borrowed": borrowed},
        )

    async def release_seat(self, entitlement_id: str, activation_id: str) -> None:
        """Release the seat of this grant; also succeeds if it is not held any more."""
        await self._json(
            "DELETE",
            path_of(
                "/v1/entitlements/{entitlementId}/activations/{activationId}",
                entitlement_id,
                activation_id,
            ),
        )

    async def consume_usage(
        self,
        entitlement_id: str,
        key: str,
        body: ConsumptionRequest,
        *,
        dry_run: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Consumption:
        """Consume a quantity of a usage limit, all or nothing, once per Idempotency-Key (required).

        Args:
            dry_run: Answer what would happen; change and record nothing.
        """
        answer: Consumption = await self._json(
            "POST",
            path_of("/v1/entitlements/{entitlementId}/usage/{key}", entitlement_id, key),
            query={"dryRun": dry_run},
            body=body,
            key=idempotency_key,
        )
        return answer

    def get_usage(self, entitlement_id: str) -> AsyncIterator[CurrentUsage]:
        """Read every usage limit in its current period."""
        return self._list(path_of("/v1/entitlements/{entitlementId}/usage", entitlement_id), {})

    def list_usage_periods(self, entitlement_id: str, key: str) -> AsyncIterator[UsagePeriod]:
        """List the periods of a usage limit with their totals, newest first."""
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/usage/{key}/periods", entitlement_id, key), {}
        )

    def list_dated_consumptions(
        self, entitlement_id: str, key: str
    ) -> AsyncIterator[DatedConsumption]:
        """List what was consumed with an occurredAt, newest first."""
        return self._list(
            path_of(
                "/v1/entitlements/{entitlementId}/usage/{key}/dated-consumptions",
                entitlement_id,
                key,
            ),
            {},
        )

    async def correct_usage(
        self,
        entitlement_id: str,
        key: str,
        body: CorrectionInput,
        *,
        idempotency_key: str | None = None,
    ) -> Correction:
        """Correct the usage of the current period by a signed quantity."""
        answer: Correction = await self._json(
            "POST",
            path_of(
                "/v1/entitlements/{entitlementId}/usage/{key}/corrections", entitlement_id, key
            ),
            body=body,
            key=idempotency_key,
        )
        return answer

    def list_corrections(self, entitlement_id: str, key: str) -> AsyncIterator[Correction]:
        """List the corrections of a usage limit, newest first."""
        return self._list(
            path_of(
                "/v1/entitlements/{entitlementId}/usage/{key}/corrections", entitlement_id, key
            ),
            {},
        )

    async def create_entitlement(
        self, body: EntitlementInput, *, idempotency_key: str | None = None
    ) -> Entitlement:
        """Create an entitlement."""
        answer: Entitlement = await self._json(
            "POST", "/v1/entitlements", body=body, key=idempotency_key
        )
        return answer

    def list_entitlements(
        self,
        *,
        search: str | None = None,
        external_id: str | None = None,
        seat_id: str | None = None,
        sort: Literal["overdraft", "denials", "renewal"] | None = None,
        month: str | None = None,
        overdraft: bool | None = None,
        customer: str | None = None,
        status: Literal["active", "suspended", "expired", "not_yet_valid", "deleted"] | None = None,
    ) -> AsyncIterator[Entitlement]:
        """List entitlements: all, newest first, those that are searched for, or a ranking.

        Args:
            search: Only those with words that begin so, in the name or externalId of the customer, the product, the SKU, the entitlement's externalId or the contacts. Case and accents do not matter. Ordered by the word that was found.
            external_id: Only the one with exactly this externalId.
            seat_id: Only those of which the person with exactly this seatId held a seat, or was denied one.
            sort: `overdraft`: the highest overdraft of the month first, in percent of what was purchased. `denials`: the most denied attempts of the month first. `renewal`: those that end next first. Entitlements without any are left out.
            month: The UTC month of `sort`: `2026-11`. By default this one.
            overdraft: Only those whose use is above (or not above) what was purchased. Kept by the stream, so it may be seconds old.
            customer: Only this customer: its exact name or externalId.
            status: Only this status. Deleted entitlements are listed only when asked for.
        """
        return self._list(
            "/v1/entitlements",
            {
                "search": search,
                "externalId": external_id,
                "seatId": seat_id,
                "sort": sort,
                "month": month,
                "overdraft": overdraft,
                "customer": customer,
                "status": status,
            },
        )

    async def get_entitlement_by_external_id(self, external_id: str) -> Entitlement:
        """Read the entitlement with your own id."""
        answer: Entitlement = await self._json(
            "GET", path_of("/v1/entitlements/by-external-id/{externalId}", external_id)
        )
        return answer

    async def put_entitlement_by_external_id(
        self, external_id: str, body: EntitlementPatch
    ) -> Entitlement:
        """Create the entitlement with your own id, or change it by what is sent."""
        answer: Entitlement = await self._json(
            "PUT", path_of("/v1/entitlements/by-external-id/{externalId}", external_id), body=body
        )
        return answer

    async def get_entitlement(self, entitlement_id: str) -> Entitlement:
        """Read an entitlement and its seats in use."""
        answer: Entitlement = await self._json(
            "GET", path_of("/v1/entitlements/{entitlementId}", entitlement_id)
        )
        return answer

    async def update_entitlement(
        self, entitlement_id: str, body: EntitlementPatch, *, dry_run: bool | None = None
    ) -> ChangedEntitlement:
        """Change an entitlement (JSON merge patch).

        Args:
            dry_run: Answer what would happen; change and record nothing.
        """
        answer: ChangedEntitlement = await self._json(
            "PATCH",
            path_of("/v1/entitlements/{entitlementId}", entitlement_id),
            query={"dryRun": dry_run},
            body=body,
        )
        return answer

    async def delete_entitlement(self, entitlement_id: str) -> None:
        """Delete an entitlement: its seats are removed, its history is kept."""
        await self._json("DELETE", path_of("/v1/entitlements/{entitlementId}", entitlement_id))

    async def create_portal_link(
        self,
        entitlement_id: str,
        body: PortalLinkInput | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> PortalLinkCreated:
        """Create a link to this entitlement's portal; only this answer has the link."""
        answer: PortalLinkCreated = await self._json(
            "POST",
            path_of("/v1/entitlements/{entitlementId}/portal-links", entitlement_id),
            body=body,
            key=idempotency_key,
        )
        return answer

    def list_portal_links(self, entitlement_id: str) -> AsyncIterator[PortalLink]:
        """List portal links, newest first, without their tokens."""
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/portal-links", entitlement_id), {}
        )

    async def revoke_portal_link(self, entitlement_id: str, link_id: str) -> None:
        """Revoke a portal link; it stops working within a minute."""
        await self._json(
            "DELETE",
            path_of(
                "/v1/entitlements/{entitlementId}/portal-links/{linkId}", entitlement_id, link_id
            ),
        )

    async def schedule_change(
        self, entitlement_id: str, body: ScheduledChangeInput, *, idempotency_key: str | None = None
    ) -> ScheduledChange:
        """Schedule a change of an entitlement: a JSON merge patch and its time."""
        answer: ScheduledChange = await self._json(
            "POST",
            path_of("/v1/entitlements/{entitlementId}/scheduled-changes", entitlement_id),
            body=body,
            key=idempotency_key,
        )
        return answer

    def list_scheduled_changes(self, entitlement_id: str) -> AsyncIterator[ScheduledChange]:
        """List scheduled changes, the last one to take effect first."""
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/scheduled-changes", entitlement_id), {}
        )

    async def get_scheduled_change(
        self, entitlement_id: str, scheduled_change_id: str
    ) -> ScheduledChange:
        """Read a scheduled change."""
        answer: ScheduledChange = await self._json(
            "GET",
            path_of(
                "/v1/entitlements/{entitlementId}/scheduled-changes/{scheduledChangeId}",
                entitlement_id,
                scheduled_change_id,
            ),
        )
        return answer

    async def cancel_scheduled_change(self, entitlement_id: str, scheduled_change_id: str) -> None:
        """Cancel a scheduled change that is pending."""
        await self._json(
            "DELETE",
            path_of(
                "/v1/entitlements/{entitlementId}/scheduled-changes/{scheduledChangeId}",
                entitlement_id,
                scheduled_change_id,
            ),
        )

    async def set_customer_cap(self, entitlement_id: str, body: CustomerCapInput) -> CustomerCap:
        """Set, change or remove the customer's own cap, at most the hard cap."""
        answer: CustomerCap = await self._json(
            "PATCH",
            path_of("/v1/entitlements/{entitlementId}/customer-cap", entitlement_id),
            body=body,
        )
        return answer

    async def create_true_up(
        self, body: TrueUpStatementInput | None = None, *, idempotency_key: str | None = None
    ) -> TrueUpStatement:
        """Request the statement of what overdraft costs in a month or a quarter."""
        answer: TrueUpStatement = await self._json(
            "POST", "/v1/true-ups", body=body, key=idempotency_key
        )
        return answer

    def list_true_ups(self) -> AsyncIterator[TrueUpStatement]:
        """List statements of what overdraft costs, newest first."""
        return self._list("/v1/true-ups", {})

    async def get_true_up_statement(self, true_up_id: str) -> TrueUpStatement:
        """Read a statement and its progress; once published, with links to its files."""
        answer: TrueUpStatement = await self._json(
            "GET", path_of("/v1/true-ups/{trueUpId}", true_up_id)
        )
        return answer

    def list_true_up_statement_lines(
        self,
        true_up_id: str,
        *,
        decision: Literal["billed", "waived", "disputed", "undecided"] | None = None,
    ) -> AsyncIterator[TrueUpStatementLine]:
        """List the lines of a published statement, by customer, with the decisions as they are now.

        Args:
            decision: Only the lines about which was decided so by now.
        """
        return self._list(
            path_of("/v1/true-ups/{trueUpId}/lines", true_up_id), {"decision": decision}
        )

    async def get_true_up(self, entitlement_id: str, *, period: str | None = None) -> TrueUp:
        """Read what overdraft costs in a month or a quarter, with the evidence behind each amount.

        Args:
            period: A month, `2026-11`, or a quarter, `2026-Q4`, in the entitlement's time zone; by default this month.
        """
        answer: TrueUp = await self._json(
            "GET",
            path_of("/v1/entitlements/{entitlementId}/true-up", entitlement_id),
            query={"period": period},
        )
        return answer

    async def decide_true_up_line(
        self, entitlement_id: str, line_id: str, body: DecisionInput
    ) -> DecidedTrueUpLine:
        """Decide about a line of a month that is over: billed, waived or disputed."""
        answer: DecidedTrueUpLine = await self._json(
            "PUT",
            path_of(
                "/v1/entitlements/{entitlementId}/true-up/lines/{lineId}/decision",
                entitlement_id,
                line_id,
            ),
            body=body,
        )
        return answer

    def list_true_up_decisions(self, entitlement_id: str) -> AsyncIterator[DecidedTrueUpLine]:
        """List the lines about which was decided, the latest month first."""
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/true-up/decisions", entitlement_id), {}
        )

    async def request_seats(
        self, entitlement_id: str, body: SeatRequestInput, *, idempotency_key: str | None = None
    ) -> SeatRequest:
        """Request more seats from the vendor: an event, and an e-mail to the account owner."""
        answer: SeatRequest = await self._json(
            "POST",
            path_of("/v1/entitlements/{entitlementId}/seat-requests", entitlement_id),
            body=body,
            key=idempotency_key,
        )
        return answer

    def list_seat_requests(self, entitlement_id: str) -> AsyncIterator[SeatRequest]:
        """List the requests for more seats, newest first."""
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/seat-requests", entitlement_id), {}
        )

    async def update_seat_request(
        self, entitlement_id: str, request_id: str, body: SeatRequestPatch
    ) -> SeatRequest:
        """Answer or decline a request for more seats; the portal shows it (JSON merge patch)."""
        answer: SeatRequest = await self._json(
            "PATCH",
            path_of(
                "/v1/entitlements/{entitlementId}/seat-requests/{requestId}",
                entitlement_id,
                request_id,
            ),
            body=body,
        )
        return answer

    async def get_graph(
        self,
        entitlement_id: str,
        *,
        from_: str | None = None,
        to: str | None = None,
        usage_key: str | None = None,
    ) -> PortalGraph:
        """Read usage over time as the portal draws it: both limits, denials, demand.

        Args:
            from_: Only from this time on (RFC 3339).
            to: Only before this time (RFC 3339); by default now.
            usage_key: The usage limit with this key; by default the seats.
        """
        answer: PortalGraph = await self._json(
            "GET",
            path_of("/v1/entitlements/{entitlementId}/graph", entitlement_id),
            query={"from": from_, "to": to, "usageKey": usage_key},
        )
        return answer

    async def get_denial_summary(
        self,
        entitlement_id: str,
        *,
        from_: str | None = None,
        to: str | None = None,
        usage_key: str | None = None,
    ) -> PortalDenials:
        """Read denials by day and by person.

        Args:
            from_: Only from this time on (RFC 3339).
            to: Only before this time (RFC 3339); by default now.
            usage_key: The usage limit with this key; by default the seats.
        """
        answer: PortalDenials = await self._json(
            "GET",
            path_of("/v1/entitlements/{entitlementId}/denial-summary", entitlement_id),
            query={"from": from_, "to": to, "usageKey": usage_key},
        )
        return answer

    async def get_forecast(self, entitlement_id: str, *, usage_key: str | None = None) -> Forecast:
        """Read when the limits will be reached if usage continues as before.

        Args:
            usage_key: The usage limit with this key; by default the seats.
        """
        answer: Forecast = await self._json(
            "GET",
            path_of("/v1/entitlements/{entitlementId}/forecast", entitlement_id),
            query={"usageKey": usage_key},
        )
        return answer

    async def create_license_key(
        self,
        entitlement_id: str,
        body: LicenseKeyInput | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> NewLicenseKey:
        """Create a license key; only this answer has the key."""
        answer: NewLicenseKey = await self._json(
            "POST",
            path_of("/v1/entitlements/{entitlementId}/license-keys", entitlement_id),
            body=body,
            key=idempotency_key,
        )
        return answer

    def list_license_keys(self, entitlement_id: str) -> AsyncIterator[LicenseKey]:
        """List license keys."""
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/license-keys", entitlement_id), {}
        )

    async def revoke_license_key(self, entitlement_id: str, key_id: str) -> None:
        """Revoke a license key; it stops working within a minute."""
        await self._json(
            "DELETE",
            path_of(
                "/v1/entitlements/{entitlementId}/license-keys/{keyId}", entitlement_id, key_id
            ),
        )

    def list_seats(self, entitlement_id: str) -> AsyncIterator[Seat]:
        """List everybody who holds or held a seat."""
        return self._list(path_of("/v1/entitlements/{entitlementId}/seats", entitlement_id), {})

    async def get_seat(
        self, entitlement_id: str, seat: str, *, by: Literal["seatId", "key"] | None = None
    ) -> Seat:
        """Read one person's seat: when it was held, how it ended, devices seen.

        Args:
            by: What the path contains, if one person's seatId is another person's seat key.
        """
        answer: Seat = await self._json(
            "GET",
            path_of("/v1/entitlements/{entitlementId}/seats/{seat}", entitlement_id, seat),
            query={"by": by},
        )
        return answer

    async def release_seat_of(self, entitlement_id: str, body: SeatSelector) -> ReleasedSeat:
        """Release the seat that a person holds; also succeeds if they hold none."""
        answer: ReleasedSeat = await self._json(
            "POST",
            path_of("/v1/entitlements/{entitlementId}/seats/release", entitlement_id),
            body=body,
        )
        return answer

    async def erase_person(self, entitlement_id: str, body: SeatSelector) -> ErasedPerson:
        """Erase a person's data (irreversible): the name and id are removed everywhere, counts stay. Does not release the seat."""
        answer: ErasedPerson = await self._json(
            "POST",
            path_of("/v1/entitlements/{entitlementId}/seats/erase", entitlement_id),
            body=body,
        )
        return answer

    def get_usage_history(
        self,
        entitlement_id: str,
        *,
        from_: str | None = None,
        to: str | None = None,
        interval: Literal["15m", "hour", "day", "period"] | None = None,
        usage_key: str | None = None,
    ) -> AsyncIterator[UsageInterval | CountInterval]:
        """Read usage over time.

        Args:
            from_: Only from this time on (RFC 3339).
            to: Only before this time (RFC 3339); by default now.
            interval: How long each item is; `hour` if not given. Hours and days are cut in the entitlement's time zone; `period` is one item for all of it, at most 100 days.
            usage_key: The usage limit with this key; by default the seats.
        """
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/usage-history", entitlement_id),
            {"from": from_, "to": to, "interval": interval, "usageKey": usage_key},
        )

    def list_overdrafts(
        self,
        entitlement_id: str,
        *,
        from_: str | None = None,
        to: str | None = None,
        usage_key: str | None = None,
    ) -> AsyncIterator[OverdraftEpisode | UsageOverdraftEpisode]:
        """List overdraft episodes, newest first.

        Args:
            from_: Only from this time on (RFC 3339).
            to: Only before this time (RFC 3339); by default now.
            usage_key: The usage limit with this key; by default the seats.
        """
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/overdrafts", entitlement_id),
            {"from": from_, "to": to, "usageKey": usage_key},
        )

    def list_denials(
        self,
        entitlement_id: str,
        *,
        from_: str | None = None,
        to: str | None = None,
        usage_key: str | None = None,
        seat_id: str | None = None,
        seat_key: str | None = None,
    ) -> AsyncIterator[Denial | UsageDenial]:
        """List denials by hour and seat, newest hour first.

        Args:
            from_: Only from this time on (RFC 3339).
            to: Only before this time (RFC 3339); by default now.
            usage_key: The usage limit with this key; by default the seats.
            seat_id: Only of the person with this seatId, exactly.
            seat_key: Only of the person with this seat key.
        """
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/denials", entitlement_id),
            {
                "from": from_,
                "to": to,
                "usageKey": usage_key,
                "seatId": seat_id,
                "seatKey": seat_key,
            },
        )

    async def explain_denial(
        self,
        entitlement_id: str,
        *,
        seat_id: str | None = None,
        seat_key: str | None = None,
        at: str | None = None,
    ) -> Explanation:
        """Explain why a person was denied, in words and numbers, and what has changed since.

        Args:
            seat_id: Who was denied: the exact seatId.
            seat_key: Who was denied, by seat key, instead of seatId.
            at: The denial nearest to this time, within 12 hours; the latest one.
        """
        answer: Explanation = await self._json(
            "GET",
            path_of("/v1/entitlements/{entitlementId}/explain", entitlement_id),
            query={"seatId": seat_id, "seatKey": seat_key, "at": at},
        )
        return answer

    def list_changes(
        self,
        entitlement_id: str,
        *,
        from_: str | None = None,
        to: str | None = None,
        actor: str | None = None,
        type: Literal[
            "entitlement.created",
            "entitlement.updated",
            "entitlement.deleted",
            "scheduled_change.created",
            "scheduled_change.cancelled",
            "scheduled_change.failed",
            "seat.released",
            "person.erased",
            "usage.corrected",
            "seat_request.created",
            "seat_request.updated",
            "follow_up.updated",
            "true_up.decided",
            "license_key.created",
            "license_key.revoked",
            "portal_link.created",
            "portal_link.revoked",
            "api_key.created",
            "api_key.revoked",
            "sign_in_link.created",
            "session.created",
            "session.ended",
            "webhook.created",
            "webhook.updated",
            "webhook.deleted",
            "webhook.secret_rotated",
            "webhook.tested",
            "webhook.resent",
        ]
        | None = None,
    ) -> AsyncIterator[Change]:
        """List who changed what of this entitlement, newest first.

        Args:
            from_: Only from this time on (RFC 3339).
            to: Only before this time (RFC 3339); by default now.
            actor: Only by this key or portal link: its id.
            type: Only changes of this type.
        """
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/changes", entitlement_id),
            {"from": from_, "to": to, "actor": actor, "type": type},
        )

    def list_audit(
        self,
        *,
        from_: str | None = None,
        to: str | None = None,
        actor: str | None = None,
        type: Literal[
            "entitlement.created",
            "entitlement.updated",
            "entitlement.deleted",
            "scheduled_change.created",
            "scheduled_change.cancelled",
            "scheduled_change.failed",
            "seat.released",
            "person.erased",
            "usage.corrected",
            "seat_request.created",
            "seat_request.updated",
            "follow_up.updated",
            "true_up.decided",
            "license_key.created",
            "license_key.revoked",
            "portal_link.created",
            "portal_link.revoked",
            "api_key.created",
            "api_key.revoked",
            "sign_in_link.created",
            "session.created",
            "session.ended",
            "webhook.created",
            "webhook.updated",
            "webhook.deleted",
            "webhook.secret_rotated",
            "webhook.tested",
            "webhook.resent",
        ]
        | None = None,
    ) -> AsyncIterator[Change]:
        """List who changed what of all entitlements, keys and webhook endpoints, newest first.

        Args:
            from_: Only from this time on (RFC 3339).
            to: Only before this time (RFC 3339); by default now.
            actor: Only by this key or portal link: its id.
            type: Only changes of this type.
        """
        return self._list("/v1/audit", {"from": from_, "to": to, "actor": actor, "type": type})

    def list_events(self, entitlement_id: str) -> AsyncIterator[Event]:
        """List what happened to an entitlement in the last 30 days, as events, newest first."""
        return self._list(path_of("/v1/entitlements/{entitlementId}/events", entitlement_id), {})

    def list_emails(self, entitlement_id: str) -> AsyncIterator[SentEmail]:
        """List the e-mails about an entitlement, newest first."""
        return self._list(path_of("/v1/entitlements/{entitlementId}/emails", entitlement_id), {})

    async def get_follow_up(self, entitlement_id: str) -> FollowUp:
        """Read the follow-up of an entitlement's overdraft by sales."""
        answer: FollowUp = await self._json(
            "GET", path_of("/v1/entitlements/{entitlementId}/follow-up", entitlement_id)
        )
        return answer

    async def update_follow_up(self, entitlement_id: str, body: FollowUpPatch) -> FollowUp:
        """Change the follow-up: state, owner, a note (JSON merge patch)."""
        answer: FollowUp = await self._json(
            "PATCH",
            path_of("/v1/entitlements/{entitlementId}/follow-up", entitlement_id),
            body=body,
        )
        return answer

    def list_follow_up_entries(self, entitlement_id: str) -> AsyncIterator[FollowUpEntry]:
        """List the changes of a follow-up, newest first."""
        return self._list(
            path_of("/v1/entitlements/{entitlementId}/follow-up/entries", entitlement_id), {}
        )

    def list_follow_ups(
        self,
        *,
        state: Literal["open", "contacted", "quoted", "won", "dismissed"] | None = None,
        due: bool | None = None,
    ) -> AsyncIterator[ListedFollowUp]:
        """List follow-ups of a state with their entitlements, the last changed first.

        Args:
            state: Only this state; by default `open`.
            due: Only those whose due date has come, or only the others.
        """
        return self._list("/v1/follow-ups", {"state": state, "due": due})

    async def create_report(
        self, body: ReportInput | None = None, *, idempotency_key: str | None = None
    ) -> Report:
        """Request a report of a period; it is made a moment later."""
        answer: Report = await self._json("POST", "/v1/reports", body=body, key=idempotency_key)
        return answer

    def list_reports(self) -> AsyncIterator[Report]:
        """List reports, newest first."""
        return self._list("/v1/reports", {})

    async def get_report(self, report_id: str) -> Report:
        """Read a report: its progress, its totals, links to its files."""
        answer: Report = await self._json("GET", path_of("/v1/reports/{reportId}", report_id))
        return answer

    async def create_webhook(
        self, body: WebhookInput, *, idempotency_key: str | None = None
    ) -> NewWebhook:
        """Create a webhook endpoint; only this answer has its secret."""
        answer: NewWebhook = await self._json(
            "POST", "/v1/webhooks", body=body, key=idempotency_key
        )
        return answer

    def list_webhooks(self) -> AsyncIterator[Webhook]:
        """List webhook endpoints."""
        return self._list("/v1/webhooks", {})

    async def get_webhook(self, webhook_id: str) -> Webhook:
        """Read a webhook endpoint."""
        answer: Webhook = await self._json("GET", path_of("/v1/webhooks/{webhookId}", webhook_id))
        return answer

    async def update_webhook(self, webhook_id: str, body: WebhookPatch) -> Webhook:
        """Change a webhook endpoint (JSON merge patch)."""
        answer: Webhook = await self._json(
            "PATCH", path_of("/v1/webhooks/{webhookId}", webhook_id), body=body
        )
        return answer

    async def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook endpoint; nothing more is sent to it."""
        await self._json("DELETE", path_of("/v1/webhooks/{webhookId}", webhook_id))

    async def rotate_webhook_secret(
        self,
        webhook_id: str,
        body: RotationInput | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> NewSecret:
        """Create a new secret; the old one signs beside it for a while."""
        answer: NewSecret = await self._json(
            "POST",
            path_of("/v1/webhooks/{webhookId}/rotate-secret", webhook_id),
            body=body,
            key=idempotency_key,
        )
        return answer

    async def test_webhook(
        self,
        webhook_id: str,
        body: WebhookTestInput | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> TestSent:
        """Send a test event to this endpoint."""
        answer: TestSent = await self._json(
            "POST",
            path_of("/v1/webhooks/{webhookId}/test", webhook_id),
            body=body,
            key=idempotency_key,
        )
        return answer

    def list_deliveries(
        self, webhook_id: str, *, status: Literal["pending", "succeeded", "failed"] | None = None
    ) -> AsyncIterator[Delivery]:
        """List deliveries of the last 30 days, newest event first.

        Args:
            status: Only this status.
        """
        return self._list(
            path_of("/v1/webhooks/{webhookId}/deliveries", webhook_id), {"status": status}
        )

    async def get_delivery(self, webhook_id: str, delivery_id: str) -> DeliveryDetails:
        """Read a delivery: the event that is sent, every attempt, the last answer."""
        answer: DeliveryDetails = await self._json(
            "GET",
            path_of("/v1/webhooks/{webhookId}/deliveries/{deliveryId}", webhook_id, delivery_id),
        )
        return answer

    def list_deliveries_of_event(self, delivery_id: str) -> AsyncIterator[EventDelivery]:
        """List the deliveries of one event: they have the same id at every endpoint."""
        return self._list(path_of("/v1/deliveries/{deliveryId}", delivery_id), {})

    async def resend_delivery(
        self, webhook_id: str, delivery_id: str, *, idempotency_key: str | None = None
    ) -> ResendAccepted:
        """Send one delivery again."""
        answer: ResendAccepted = await self._json(
            "POST",
            path_of(
                "/v1/webhooks/{webhookId}/deliveries/{deliveryId}/resend", webhook_id, delivery_id
            ),
            key=idempotency_key,
        )
        return answer

    async def resend_failed_deliveries(
        self, webhook_id: str, body: ResendInput, *, idempotency_key: str | None = None
    ) -> ResendAccepted:
        """Send all failed deliveries of events since a time again."""
        answer: ResendAccepted = await self._json(
            "POST",
            path_of("/v1/webhooks/{webhookId}/resend", webhook_id),
            body=body,
            key=idempotency_key,
        )
        return answer

    async def create_api_key(
        self, body: ApiKeyInput, *, idempotency_key: str | None = None
    ) -> NewApiKey:
        """Create an API key; only this answer has the key."""
        answer: NewApiKey = await self._json("POST", "/v1/api-keys", body=body, key=idempotency_key)
        return answer

    def list_api_keys(self) -> AsyncIterator[ApiKey]:
        """List API keys."""
        return self._list("/v1/api-keys", {})

    async def revoke_api_key(self, key_id: str) -> None:
        """Revoke an API key; it stops working within a minute."""
        await self._json("DELETE", path_of("/v1/api-keys/{keyId}", key_id))

    async def get_stack(self) -> Stack:
        """Read how this stack was deployed: its version, its parameters, its last change."""
        answer: Stack = await self._json("GET", "/v1/stack")
        return answer

    def list_sessions(self) -> AsyncIterator[Session]:
        """List sessions of the console, newest first."""
        return self._list("/v1/console/sessions", {})

    async def end_session(self, session_id: str) -> None:
        """End a session; it stops working within a minute."""
        await self._json("DELETE", path_of("/v1/console/sessions/{sessionId}", session_id))

    async def create_sign_in_link(self, body: SignInLinkInput | None = None) -> SignInLink:
        """Create a link that signs in to the console once, with the scopes of the API key."""
        answer: SignInLink = await self._json("POST", "/v1/console/sign-in-links", body=body)
        return answer
