"""What the code answers has the members and types that the description promises.

mypy holds the code to the views, which are typed dicts. Here each view is compared with the schema
of the description, which is a model of `shared/api/schemas`.
"""

import types
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import pytest
from pydantic import BaseModel

from functions.activate.handler import ActivationView
from functions.manage import (
    audit_trail,
    console_sessions,
    credentials,
    deliveries,
    entitlements,
    events,
    explanations,
    history,
    seats,
    stack,
    usage,
    webhooks,
)
from functions.manage.customer_caps import CustomerCapView
from functions.manage.follow_up import ListedFollowUpView
from functions.portal.denials import PortalDenialsView
from functions.portal.forecast import ForecastView
from functions.portal.graph import PortalGraphView
from functions.portal.status import PortalView
from functions.report.api import ReportView
from functions.report.statement_lines import StatementLineView
from functions.report.statements_api import TrueUpStatementView
from shared.api.routes import ROUTES
from shared.entitlements.scheduled_changes import ScheduledChangeView
from shared.entitlements.views import EntitlementView
from shared.history.views import OverdraftEpisodeView, UsageOverdraftEpisodeView
from shared.sales.charges import TrueUpView
from shared.sales.follow_up import FollowUpEntryView, FollowUpView
from shared.sales.seat_requests import SeatRequestView
from shared.sales.true_up_views import DecidedLineView
from shared.seats.held_seats import HeldSeatView
from shared.usage.views import ConsumptionView, CurrentUsageView
from tools.openapi import models

VIEWS: dict[str, Any] = {
    "Activation": ActivationView,
    "ApiKey": credentials.ApiKeyView,
    "Consumption": ConsumptionView,
    "Correction": usage.CorrectionView,
    "DatedConsumption": usage.DatedConsumptionView,
    "CountInterval": history.CountIntervalView,
    "CurrentUsage": CurrentUsageView,
    "ChangedEntitlement": entitlements.ForeseenView,
    "Delivery": deliveries.DeliveryView,
    "DeliveryDetails": deliveries.DeliveryDetailsView,
    "Event": events.EventView,
    "EventDelivery": deliveries.EventDeliveryView,
    "Stack": stack.StackView,
    "Denial": history.DenialView,
    "ErasedPerson": seats.ErasedPersonView,
    "Entitlement": EntitlementView,
    "Change": audit_trail.ChangeView,
    "Explanation": explanations.ExplanationView,
    "FollowUp": FollowUpView,
    "ListedFollowUp": ListedFollowUpView,
    "Session": console_sessions.SessionView,
    "FollowUpEntry": FollowUpEntryView,
    "Forecast": ForecastView,
    "HeldSeat": HeldSeatView,
    "LicenseKey": credentials.LicenseKeyView,
    "OverdraftEpisode": OverdraftEpisodeView,
    "Portal": PortalView,
    "PortalDenials": PortalDenialsView,
    "PortalGraph": PortalGraphView,
    "PortalLink": credentials.PortalLinkView,
    "ReleasedSeat": seats.ReleasedSeatView,
    "Report": ReportView,
    "ScheduledChange": ScheduledChangeView,
    "Seat": seats.SeatView,
    "SeatRequest": SeatRequestView,
    "CustomerCap": CustomerCapView,
    "SentEmail": history.SentEmailView,
    "TrueUp": TrueUpView,
    "TrueUpStatement": TrueUpStatementView,
    "TrueUpStatementLine": StatementLineView,
    "DecidedTrueUpLine": DecidedLineView,
    "UsageDenial": history.UsageDenialView,
    "UsageInterval": history.UsageIntervalView,
    "UsageOverdraftEpisode": UsageOverdraftEpisodeView,
    "UsagePeriod": usage.UsagePeriodView,
    "Webhook": webhooks.WebhookView,
}
# Answers of a few members that are written where they are made.
WITHOUT_A_VIEW = {
    "Health",
    "LeaseKeys",
    "NewApiKey",
    "NewLicenseKey",
    "NewSession",
    "SignInLink",
    "NewSecret",
    "NewWebhook",
    "PortalLinkCreated",
    "ResendAccepted",
    "TestSent",
}


def differences(view: Any, model: type[BaseModel], where: str) -> list[str]:
    """How a view differs from a schema."""
    hints = get_type_hints(view)
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    found = [f"{where}.{name} is not described" for name in hints.keys() - fields.keys()]
    for name, field in fields.items():
        place = f"{where}.{name}"
        is_always_there = name in getattr(view, "__required_keys__", ())
        if field.is_required() and not is_always_there:
            found.append(f"{place} may be missing")
        if name in hints:
            # One that may be missing is described with null as its default.
            described = choices(field.annotation)
            if not field.is_required() and type(None) not in choices(hints[name]):
                described -= {type(None)}
            found += unlike(hints[name], Union[tuple(described)], place)  # noqa: UP007
    return found


def unlike(view: Any, model: Any, where: str) -> list[str]:
    """How the type of a member differs from the described one."""
    if get_origin(view) is NotRequired:
        return unlike(get_args(view)[0], model, where)
    ours, theirs = choices(view), choices(model)
    if (type(None) in ours) != (type(None) in theirs):
        return [f"{where} may be null in one of both"]
    ours, theirs = ours - {type(None)}, theirs - {type(None)}
    found: list[str] = []
    for each in ours:
        against: list[list[str]] = [unlike_one(each, other, where) for other in theirs]
        found += sorted(against, key=len)[0]
    return found


def choices(given: Any) -> set[Any]:
    if get_origin(given) is Annotated:
        return choices(get_args(given)[0])
    if get_origin(given) in (Union, types.UnionType):
        return {each for choice in get_args(given) for each in choices(choice)}
    if get_origin(given) is Literal:
        return {type(value) for value in get_args(given)}
    return {given}


def unlike_one(ours: Any, theirs: Any, where: str) -> list[str]:
    if is_typeddict(ours) and isinstance(theirs, type) and issubclass(theirs, BaseModel):
        return differences(ours, theirs, where)
    if get_origin(ours) is get_origin(theirs) is list:
        return unlike(get_args(ours)[0], get_args(theirs)[0], f"{where}[]")
    if get_origin(ours) is get_origin(theirs) is dict:
        return unlike(get_args(ours)[1], get_args(theirs)[1], f"{where}{{}}")
    # Documents that were validated when they were written.
    is_document = get_origin(ours) is Mapping
    if is_document and isinstance(theirs, type) and issubclass(theirs, BaseModel):
        return []
    return [] if ours == theirs else [f"{where} is {ours}, described as {theirs}"]


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_as_it_is_described(name: str) -> None:
    assert differences(VIEWS[name], models()[name], name) == []


def test_every_answer_has_a_view() -> None:
    answered = {name for route in ROUTES.values() for _, name in route.answers if name}
    known = models()
    items = set[str]()
    for name in answered:
        member = known[name].model_fields.get("items")
        if member:
            items |= {each.__name__ for each in choices(get_args(member.annotation)[0])}
    lists = {name for name in answered if "items" in known[name].model_fields}
    assert (answered - lists) | items == VIEWS.keys() | WITHOUT_A_VIEW


def test_a_difference_is_found() -> None:
    assert differences(HeldSeatView, models()["Seat"], "x")
    assert differences(history.DenialView, models()["UsageDenial"], "x")
