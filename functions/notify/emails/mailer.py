"""E-mail: due, claimed, sent, recorded.

The stream only notes that an audience of an entitlement has to be notified. The content is read
from the evidence when the e-mail is made: the sum of everything since the last one, at most once an
hour. So a record that comes twice is not reported twice, and a late one is still reported.

A customer's request for more seats is mailed at once, in an e-mail of its own. It goes to the
account owner, and where there is none to the recipients of the stack's reports.

An e-mail is claimed (an item) before it is sent. It is never lost. It is sent twice only if the
process ends after SES accepted it and before that is recorded.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from functions.notify.emails import text as mail_text
from functions.notify.emails.text import CountFacts, Facts
from shared import aws, mail_links, observability, signed_tokens
from shared.audit import EVIDENCE_SECONDS
from shared.clock import now_ms as clock
from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.keys import (
    DUE_MAILS,
    Key,
    entitlement_id_of,
    entitlement_key,
    expiry_key,
    follow_up_key,
    mail_key,
    mail_state_key,
    overdraft_clock_key,
    seat_record_key,
    seat_request_key,
    unsubscribed_key,
    usage_key,
    usage_meter,
)
from shared.dynamodb.paging import all_of, due_keys
from shared.dynamodb.requests import (
    NO_NAMES,
    Accepted,
    BatchGet,
    Get,
    Item,
    Operation,
    Put,
    Query,
    Refused,
    Transact,
    Update,
    send,
)
from shared.entitlements.model import (
    AUDIENCES,
    audience_of,
    owner_for_requests,
    unsubscribed_hash,
)
from shared.entitlements.queries import fetch_seat_usages
from shared.events import builders
from shared.events import types as event_types
from shared.history import queries
from shared.history.buckets import HOUR_MS, bucket_name
from shared.history.changes import ChangeRecord, changes_between
from shared.history.denials import attempts_between, denials_of_person, denied_between
from shared.history.overdraft_notices import ENDING
from shared.usage.counter import Counter

SETTLE_SECONDS = 5  # a mark is written a moment before its evidence
RETRY_SECONDS = 300
ATTEMPTS = 8
NAMES_SHOWN = 10
ATTEMPTS_READ = 100
TO_SEPARATOR = ", "  # between the addresses of an e-mail, as it is stored
# The audience of requests for more seats; the others are those of an entitlement's contacts.
REQUESTS = "requests"


def mark(entitlement: Item, kinds: set[str], at: int, now_ms: int) -> Operation[None]:
    """Note that events of these types happened at `at`, for the audiences that want them."""
    document = entitlement.get("document", {})
    for audience in AUDIENCES:
        address, wanted = audience_of(document, audience)
        if address and not kinds.isdisjoint(wanted):
            yield from _mark(mail_state_key(entitlement["entitlementId"], audience), at, now_ms)


def mark_request(entitlement_id: str, at: int, now_ms: int) -> Operation[None]:
    """Note that the customer asked for more seats at `at`."""
    yield from _mark(mail_state_key(entitlement_id, REQUESTS), at, now_ms)


def _mark(key: Key, at: int, now_ms: int) -> Operation[None]:
    due = now_ms // 1000 + SETTLE_SECONDS
    values: dict[str, Any] = {":at": at, ":due": due, ":mails": DUE_MAILS}
    sets = "earliest = if_not_exists(earliest, :due), sweepKey = :mails"
    known = f"SET {sets}, since = if_not_exists(since, :at)"
    reply = yield from send(
        Update(key, known, "attribute_not_exists(since) OR since <= :at", NO_NAMES, values)
    )
    if isinstance(reply, Refused):
        # It came after the e-mail about its time: the next one begins there again.
        yield from send(Update(key, f"SET {sets}, since = :at", "", NO_NAMES, values))


def _earliest_after(audience: str, last_at: int) -> int:
    """When the next e-mail may be sent, Unix seconds. A request waits for no other e-mail."""
    return 0 if audience == REQUESTS else (last_at + HOUR_MS) // 1000


class Mailer:
    """Sends what is due. Without a sender's address no e-mail is sent."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        sender: str,
        public_url: str,
        configuration: str = "",
        *,
        recipients: tuple[str, ...] = (),
        vendor: str = "",
        support: str = "",
    ) -> None:
        """`configuration`: the name of the SES configuration set; empty: SES's default.

        `recipients` get requests for more seats where there is no account owner. E-mails come from
        `vendor` by name, and answers of customers go to `support` where there is no account owner.
        """
        self._dynamodb = dynamodb
        self._sender = sender
        self._from = aws.mail_from(vendor, sender)
        self._public_url = public_url
        self._configuration = configuration
        self._recipients = recipients
        self._vendor = vendor
        self._support = support

    @property
    def is_on(self) -> bool:
        """Whether this stack sends e-mail."""
        return bool(self._sender)

    def send_due(self, now_ms: int, deadline_ms: int) -> dict[str, int]:
        """Claim and send what is due; how many were sent, and how many failed."""
        done = {"sent": 0, "failed": 0}
        if not self.is_on:
            return done
        for key in due_keys(self._dynamodb, DUE_MAILS, now_ms // 1000):
            if clock() > deadline_ms:
                break
            self._send_one(key, now_ms, done)
        return done

    def _send_one(self, key: Key, now_ms: int, done: dict[str, int]) -> None:
        try:
            claimed = self._dynamodb.run(self._claim(key, now_ms))
            if claimed:
                self._send(*claimed)
                done["sent"] += 1
        except Exception:  # One e-mail must not keep the rest from being sent.
            observability.logger.exception("mail failed", extra={"pk": key.pk, "sk": key.sk})
            observability.count("MailFailed")
            done["failed"] += 1

    # --- Claiming --------------------------------------------------------------------------------

    def _claim(self, key: Key, now_ms: int) -> Operation[tuple[Key, Item, Facts] | None]:
        """Claim a due e-mail: its key, its item, its content. None: there is nothing to do."""
        item = yield from send(Get(key))
        due = (item or {}).get("earliest")
        if item is None or due is None or due > now_ms // 1000:
            return None
        entitlement_id = entitlement_id_of(key.pk)
        if key.sk.startswith("SENT#"):
            return (yield from self._claim_again(entitlement_id, key, item, now_ms))
        audience = key.sk.partition("#")[2]
        next_due = _earliest_after(audience, item.get("lastAt", 0))
        seen = {":seen": due}
        if next_due > now_ms // 1000:
            yield from send(_postponed(key, due, next_due))
            return None
        until = now_ms
        facts = yield from self._facts(entitlement_id, audience, item["since"], until)
        if facts is None:
            yield from send(
                Update(
                    key,
                    "SET since = :until REMOVE earliest",
                    "earliest = :seen",
                    NO_NAMES,
                    {**seen, ":until": until},
                )
            )
            return None
        mail: Item = {
            "entitlementId": entitlement_id,
            "audience": audience,
            "to": facts.to,
            "status": "claimed",
            "from": item["since"],
            "until": until,
            "attempts": 1,
            "createdAt": now_ms,
            "sweepKey": DUE_MAILS,
            "earliest": now_ms // 1000 + RETRY_SECONDS,
            "ttl": now_ms // 1000 + EVIDENCE_SECONDS,
        }
        sent_key = mail_key(entitlement_id, now_ms, audience)
        reply = yield from send(
            Transact(
                (
                    Update(
                        key,
                        "SET since = :until, lastAt = :until REMOVE earliest",
                        "earliest = :seen AND since = :since",
                        NO_NAMES,
                        {**seen, ":until": until, ":since": item["since"]},
                    ),
                    Put(sent_key, mail, "attribute_not_exists(pk)"),
                )
            )
        )
        return (sent_key, mail, facts) if isinstance(reply, Accepted) else None

    def _claim_again(
        self, entitlement_id: str, key: Key, item: Item, now_ms: int
    ) -> Operation[tuple[Key, Item, Facts] | None]:
        """Claim an e-mail again that was claimed before and, as far as is known, not sent."""
        attempts, seen = item["attempts"], item["earliest"]
        state_key = mail_state_key(entitlement_id, item["audience"])
        state: Item = (yield from send(Get(state_key))) or {}
        next_due = _earliest_after(item["audience"], state.get("lastAt", 0))
        if state.get("lastAt") != item["createdAt"] and next_due > now_ms // 1000:
            # Another one was sent meanwhile: never two within the hour.
            yield from send(_postponed(key, seen, next_due))
            return None
        facts = None
        if attempts < ATTEMPTS:
            facts = yield from self._facts(
                entitlement_id, item["audience"], item["from"], item["until"]
            )
        if facts is None:
            reason = "gave up" if attempts >= ATTEMPTS else "nobody wants this mail any more"
            yield from send(
                Update(
                    key,
                    "SET #status = :failed, failure = :reason REMOVE earliest",
                    "earliest = :seen",
                    {"#status": "status"},
                    {":failed": "failed", ":reason": reason, ":seen": seen},
                )
            )
            observability.count("MailGivenUp")
            return None
        reply = yield from send(
            Transact(
                (
                    Update(
                        key,
                        "SET attempts = :attempts, earliest = :next, createdAt = :now, #to = :to",
                        "earliest = :seen",
                        {"#to": "to"},
                        {
                            ":attempts": attempts + 1,
                            ":next": now_ms // 1000 + RETRY_SECONDS * 2**attempts,
                            ":now": now_ms,
                            ":to": facts.to,
                            ":seen": seen,
                        },
                    ),
                    Update(state_key, "SET lastAt = :now", "", NO_NAMES, {":now": now_ms}),
                )
            )
        )
        mail = {**item, "to": facts.to}
        return (key, mail, facts) if isinstance(reply, Accepted) else None

    # --- Sending ---------------------------------------------------------------------------------

    def _send(self, key: Key, mail: Item, facts: Facts) -> None:
        link = self._unsubscribe_link(mail)
        reply_to = self._reply_to(facts)
        portal = self._dynamodb.run(self._portal_link(mail, facts))
        subject, text, html = mail_text.render(
            facts,
            mail_text.Links(portal, link),
            self._vendor,
            can_reply=bool(reply_to),
        )
        _, claimed_at, audience = key.sk.split("#")
        answer = aws.client("sesv2").send_email(
            **aws.mail_options(
                self._configuration,
                # returned_mail.py recognizes a returned e-mail by these.
                {"entitlementId": mail["entitlementId"], "mail": f"{claimed_at}-{audience}"},
            ),
            FromEmailAddress=self._from,
            **reply_to,
            Destination={"ToAddresses": mail["to"].split(TO_SEPARATOR)},
            Content={
                "Simple": {
                    "Subject": {"Data": subject, "Charset": "UTF-8"},
                    "Body": {
                        "Text": {"Data": text, "Charset": "UTF-8"},
                        "Html": {"Data": html, "Charset": "UTF-8"},
                    },
                    **_unsubscribe_headers(link),
                }
            },
        )
        self._dynamodb.execute(
            Update(
                key,
                "SET #status = :sent, sentAt = :at, messageId = :id, subject = :subject,"
                " numbers = :numbers REMOVE earliest",
                "",
                {"#status": "status"},
                {
                    ":sent": "sent",
                    ":at": clock(),
                    ":id": answer["MessageId"],
                    ":subject": subject,
                    ":numbers": facts.numbers(),
                },
            )
        )

    def _unsubscribe_link(self, mail: Item) -> str:
        """The link that ends these e-mails; empty for the stack's recipients of requests."""
        if mail["audience"] == REQUESTS and mail["to"] == TO_SEPARATOR.join(self._recipients):
            return ""
        secret = self._dynamodb.run(signed_tokens.own_secret("unsubscribe"))
        token = signed_tokens.seal(
            secret, [mail["entitlementId"], unsubscribed_hash(mail["to"])], "unsubscribe"
        )
        return f"{self._public_url}/v1/unsubscribe/{token}"

    def _portal_link(self, mail: Item, facts: Facts) -> Operation[str]:
        """A link to the portal for the address of the e-mail; empty if it has no such address."""
        audience = "accountOwner" if facts.audience == REQUESTS else facts.audience
        address, _ = audience_of(facts.document, audience)
        if not self._public_url or address != mail["to"]:
            return ""
        token = yield from mail_links.new_token(
            mail["entitlementId"], audience, address, clock() // 1000
        )
        return f"{self._public_url}/portal#{token}"

    def _reply_to(self, facts: Facts) -> dict[str, list[str]]:
        """Who gets the answer of a customer: the account owner, or the vendor's support."""
        if facts.audience != "customerAdmin":
            return {}
        owner, _ = audience_of(facts.document, "accountOwner")
        address = owner or self._support
        return {"ReplyToAddresses": [address]} if address else {}

    # --- Content ----------------------------------------------------------------------------------

    def _request_facts(self, entitlement: Item, since: int, until: int) -> Operation[Facts | None]:
        """The requests for more seats from `since` to before `until`, and who is notified."""
        entitlement_id, document = entitlement["entitlementId"], entitlement["document"]
        requests = yield from _requests(entitlement_id, since, until)
        to = owner_for_requests(document)
        if not to or (yield from _has_unsubscribed(entitlement_id, to)):
            to = TO_SEPARATOR.join(self._recipients)
        if not requests or not to:
            return None
        seat_usage = (yield from fetch_seat_usages([entitlement_id], until // 1000))[entitlement_id]
        return Facts(to, REQUESTS, document, seat_usage, since, until, requests=requests)

    def _facts(
        self, entitlement_id: str, audience: str, since: int, until: int
    ) -> Operation[Facts | None]:
        """What happened from `since` to before `until`; None: nothing, or nobody wants to know."""
        entitlement = yield from send(Get(entitlement_key(entitlement_id)))
        if entitlement is None:
            return None
        if audience == REQUESTS:
            return (yield from self._request_facts(entitlement, since, until))
        address, wanted = audience_of(entitlement["document"], audience)
        if not address or (yield from _has_unsubscribed(entitlement_id, address)):
            return None
        return (yield from facts_between(entitlement, (address, audience, wanted), since, until))


def facts_between(
    entitlement: Item, reader: tuple[str, str, frozenset[str]], since: int, until: int
) -> Operation[Facts | None]:
    """What happened to an entitlement from `since` to before `until`, Unix milliseconds.

    `reader`: their address, audience, and the types of events that they want. None: nothing did.
    """
    entitlement_id = entitlement["entitlementId"]
    address, audience, wanted = reader
    changes = yield from changes_between(entitlement_id, since, until)
    happened, thresholds, left = _happened(entitlement_id, changes, wanted)
    overdraft_keys = [
        seat["key"]
        for change in changes
        for seat in change.seats
        if seat["kind"] == "activated" and seat["overdraft"]
    ]
    denied: dict[str, int] = {}
    if event_types.SEAT_DENIED in wanted:
        denied = yield from denied_between(entitlement_id, since, until)
    counts = yield from _counts(entitlement_id, entitlement["document"], wanted, since, until)
    notice, reminder = Item(), Item()
    if event_types.EXPIRING in wanted:
        notice = yield from _noted(expiry_key(entitlement_id), "givenAt", since, until)
    if event_types.FOLLOW_UP_DUE in wanted:
        reminder = yield from _noted(follow_up_key(entitlement_id), "remindedAt", since, until)
    clocks = yield from _clocks(entitlement_id, wanted, since, until)
    if not any((happened, denied, counts, notice, reminder, clocks)):
        return None
    names = yield from _names(entitlement_id, overdraft_keys)
    denied_names = yield from _denied_names(entitlement_id, denied, since, until)
    seat_usage = (yield from fetch_seat_usages([entitlement_id], until // 1000))[entitlement_id]
    return Facts(
        address,
        audience,
        entitlement["document"],
        seat_usage,
        since,
        until,
        happened,
        thresholds,
        names,
        len(set(overdraft_keys)),
        sum(denied.values()),
        len(denied),
        denied_names,
        counts,
        days_left=notice.get("givenDays"),
        seats_left=left,
        reminder=reminder or None,
        clocks=clocks,
    )


def _happened(
    entitlement_id: str, changes: Iterable[ChangeRecord], wanted: frozenset[str]
) -> tuple[dict[str, int], tuple[int, ...], int | None]:
    """The number of wanted events by type, and the thresholds reached.

    In percent, and the smallest number of purchased seats left.
    """
    happened: dict[str, int] = {}
    thresholds, left = set[int](), set[int]()
    for change in changes:
        for event in builders.of_change(entitlement_id, change):
            if event["type"] in wanted:
                happened[event["type"]] = happened.get(event["type"], 0) + 1
                if event["data"].get("threshold") is not None:
                    thresholds.add(event["data"]["threshold"])
                if event["data"].get("seatsLeft") is not None:
                    left.add(event["data"]["seatsLeft"])
    return happened, tuple(sorted(thresholds)), min(left, default=None)


def _postponed(key: Key, seen: int, due: int) -> Update:
    """Make what was due at `seen` due later (Unix seconds), unless another run has done so."""
    return Update(
        key,
        "SET earliest = :next",
        "earliest = :seen",
        NO_NAMES,
        {":next": due, ":seen": seen},
    )


def _has_unsubscribed(entitlement_id: str, address: str) -> Operation[bool]:
    key = unsubscribed_key(entitlement_id, unsubscribed_hash(address))
    return (yield from send(Get(key))) is not None


def _unsubscribe_headers(link: str) -> dict[str, list[dict[str, str]]]:
    """One-click unsubscription (RFC 8058), if there is a link for it."""
    if not link:
        return {}
    headers = {
        "List-Unsubscribe": f"<{link}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    return {"Headers": [{"Name": name, "Value": value} for name, value in headers.items()]}


def _requests(entitlement_id: str, since: int, until: int) -> Operation[list[Item]]:
    """The requests for more seats."""
    low, high = (
        seat_request_key(entitlement_id, at, end) for at, end in ((since, ""), (until - 1, "~"))
    )
    values = {":pk": low.pk, ":low": low.sk, ":high": high.sk}
    query = Query("pk = :pk AND sk BETWEEN :low AND :high", values)
    return (yield from all_of(query))


def _noted(key: Key, name: str, since: int, until: int) -> Operation[Item]:
    """An item whose attribute `name` is a time from `since` to before `until`; empty: it is not."""
    item = (yield from send(Get(key))) or {}
    return item if since <= item.get(name, 0) < until else {}


def _clocks(
    entitlement_id: str, wanted: frozenset[str], since: int, until: int
) -> Operation[list[Item]]:
    """The overdrafts of which notice was given: at most one of each meter, the last."""
    if not wanted & {*event_types.NOTICE_TYPES}:
        return []
    query = Query("pk = :pk", {":pk": overdraft_clock_key(entitlement_id, "").pk})
    found = yield from all_of(query)
    return [
        item
        for item in found
        if since <= item.get("givenAt", 0) < until
        # What is over by now does not end soon.
        and not (item["givenWhat"] == ENDING and item["givenEndsAt"] * 1000 <= until)
        and builders.of_overdraft_notice(item)["type"] in wanted
    ]


def _counts(
    entitlement_id: str, document: Mapping[str, Any], wanted: frozenset[str], since: int, until: int
) -> Operation[list[CountFacts]]:
    """What happened to the usage limits that are concerned."""
    keys = [limit["key"] for limit in document["usageLimits"]]
    if not keys or not any(kind.startswith("entitlement.usage.") for kind in wanted):
        return []
    counters = yield from send(BatchGet(tuple(usage_key(entitlement_id, key) for key in keys)))
    found: list[CountFacts] = []
    for key in keys:
        meter = usage_meter(key)
        item = counters.get(usage_key(entitlement_id, key))
        crossed = yield from queries.triggered_between(entitlement_id, since, until, meter)
        triggered = [what for what, _ in crossed if builders.of_threshold(what) in wanted]
        denied: dict[str, int] = {}
        if event_types.USAGE_DENIED in wanted:
            denied = yield from denied_between(entitlement_id, since, until, meter)
        if item and (triggered or denied):
            counter = Counter.of(item).as_of(until // 1000)
            largest = yield from _largest_denied(entitlement_id, denied, since, until, meter)
            facts = CountFacts(
                key,
                counter,
                tuple(triggered),
                sum(denied.values()),
                len(denied),
                *largest,
            )
            found.append(facts)
    return found


def _largest_denied(
    entitlement_id: str, denied: Mapping[str, int], since: int, until: int, meter: str
) -> Operation[tuple[int, int]]:
    """The largest quantity that was denied, and how much was left under the hard cap then.

    Zero for both if there were too many attempts to read for an e-mail.
    """
    found = (0, 0)
    if sum(denied.values()) > ATTEMPTS_READ:
        return found
    for item in (yield from attempts_between(entitlement_id, since, until, denied, meter)):
        left = max(0, (item.get("hardCap") or 0) - item["used"])
        found = max(found, (item.get("quantity") or 0, left))
    return found


def _names(entitlement_id: str, keys: Iterable[str]) -> Operation[list[str]]:
    shown = list(dict.fromkeys(keys))[:NAMES_SHOWN]
    if not shown:
        return []
    records = yield from send(
        BatchGet(tuple(seat_record_key(entitlement_id, key) for key in shown))
    )
    found = [records.get(seat_record_key(entitlement_id, key), {}) for key in shown]
    return [mail_text.name_of(record) for record in found]


def _denied_names(
    entitlement_id: str, denied: dict[str, int], since: int, until: int
) -> Operation[list[tuple[str, int]]]:
    """The persons who were denied most often, and how often."""
    shown = sorted(denied.items(), key=lambda each: (-each[1], each[0]))[:NAMES_SHOWN]
    names = []
    for key, attempts in shown:
        low, high = bucket_name(since)[:13], bucket_name(until)[:13]
        records = yield from denials_of_person(entitlement_id, key, low, f"{high}#~")
        names.append((mail_text.name_of(records[-1] if records else {}), attempts))
    return names
