"""`make demo`: a working day of a company of 130 people on 100 purchased seats, in a minute.

It uses the Python client as licensed software does, and every line of it is a real call to the API
of the running stack. The demo counts the answers. At the end it compares them with what the API
reports and has on record.
"""

import heapq
import itertools
import os
import random
import sys
import threading
import time
import webbrowser
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import urllib3
from overdraft import Activation, Denied, Overdraft, Retry, Seat
from overdraft.models import Seats
from overdraft.vendor import Vendor
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from local.api import Api
from local.emulator import LocalError, free_port
from local.receiver import Receiver
from local.run import (
    DEMO_ENTITLEMENT,
    console_link,
    is_running,
    portal_link,
    read_details,
    running,
    subscribe,
)
from shared.clock import to_rfc3339
from shared.events.types import (
    OVERDRAFT_EXITED,
    SEAT_ACTIVATED,
    SEAT_DENIED,
    USAGE_DENIED,
    USAGE_OVERDRAFT_ENTERED,
)
from tools import ROOT

PEOPLE = 130
CRASHES = 8
OPENS, CLOSES = 8 * 60, 18 * 60  # the day, in minutes
SECONDS_PER_HOUR = 7.0
INSPECTION = 14 * 60 + 30  # nobody comes or goes: the middle of the day is checked as well
LEASE = "PT1M"  # the shortest there is: a minute of ours is half a day of theirs
RETRY_MINUTES = 20
NOON = 12 * 60
BOUGHT = 8  # raises the hard cap to 128
WORKERS = 8
SEED = 1
QUIET_SECONDS = 3
PATIENCE_SECONDS = 30
TRIES = 3
# A machine may be slow, and everything of the stack runs on it.
RETRY = Retry(attempts=12, timeout=30, total=120)
REPORT_FILE = ROOT / ".local/report.html"


# What is compared; what the clients counted; what the stack says.
Check = tuple[str, Any, Any]


class Day:
    """The company's day: who does what when, the answers they get, who holds a seat."""

    def __init__(self, vendor: Vendor, client: Overdraft, entitlement_id: str) -> None:
        self._vendor = vendor
        self._client = client
        self._id = entitlement_id
        self._agenda: list[tuple[float, int, str, int]] = []
        self._order = itertools.count()
        self._lock = threading.Lock()
        # A person does one thing at a time.
        self._busy = [threading.Lock() for _ in range(PEOPLE)]
        self.counted: Counter[str] = Counter()
        self.seats: dict[int, Seat] = {}
        # Grants of machines that crash: nobody keeps these seats.
        self.abandoned: dict[int, str] = {}
        self.waiting: set[int] = set()
        self.turned_away: set[int] = set()
        self.purchased, self.cap = 100, 120
        self.used = 0
        self.peak = 0
        self.graph: list[tuple[int, int]] = []
        self.news: list[str] = []
        self.checks: list[Check] = []
        self.exports = 0
        self._plan(random.Random(SEED))  # the same day every time

    def _plan(self, chance: random.Random) -> None:
        self._crashing = frozenset(chance.sample(range(PEOPLE), CRASHES))
        for person in range(PEOPLE):
            arrives = min(max(chance.gauss(9 * 60, 25), OPENS), 10.5 * 60)
            leaves = min(max(chance.gauss(17 * 60, 30), 15.5 * 60), CLOSES - 10)
            self._at(arrives, "arrive", person)
            if person not in self._crashing:
                self._at(leaves, "leave", person)
            self._at(arrives + 40 + person * 2, "export", person)
        self._at(NOON, "buy", 0)
        self._at(INSPECTION, "inspect", 0)

    def _at(self, minute: float, what: str, person: int) -> None:
        with self._lock:
            heapq.heappush(self._agenda, (minute, next(self._order), what, person))

    def run(self) -> Iterator[float]:
        """Live through the day; yields the minute of the day, often."""
        started = time.monotonic()
        with ThreadPoolExecutor(WORKERS) as pool:
            pending: list[Future[None]] = []
            minute = float(OPENS)
            while minute < CLOSES:
                minute = OPENS + (time.monotonic() - started) / SECONDS_PER_HOUR * 60
                while True:
                    with self._lock:
                        if not self._agenda or self._agenda[0][0] > minute:
                            break
                        due, _, what, person = heapq.heappop(self._agenda)
                    pending.append(pool.submit(self._do, what, person, due))
                for future in [future for future in pending if future.done()]:
                    future.result()  # a failure in a thread is a failure of the demo
                    pending.remove(future)
                yield minute
                time.sleep(0.02)
            for future in pending:
                future.result()
        yield minute

    def _do(self, what: str, person: int, due: float) -> None:
        with self._busy[person]:
            getattr(self, f"_{what}")(person, due)

    # --- What people do -------------------------------------------------------------------------

    def _arrive(self, person: int, minute: float) -> None:
        try:
            taken = self._take(person)
        except Denied as denied:
            with self._lock:
                self._note(denied.seats)
                self.counted["denied"] += 1
                self.waiting.add(person)
                self.turned_away.add(person)
            self._at(minute + RETRY_MINUTES, "arrive", person)
            return
        with self._lock:
            self.waiting.discard(person)
            self._note(taken.seats)
            self.counted["overdraft" if taken.is_overdraft else "within"] += 1
            if isinstance(taken, Seat):
                self.seats[person] = taken
            else:
                self.abandoned[person] = taken.activation_id
                self._say(minute, f"User {person:03d}'s machine crashed; the seat stays taken")

    def _take(self, person: int) -> Seat | Activation:
        """A seat that is kept; on a machine that crashes, one that nobody keeps."""
        seat_id, name = f"user{person:03d}@acme.com", f"User {person:03d}"
        if person in self._crashing:
            return self._client.take(seat_id, name=name)
        seat = self._client.seat(seat_id, name=name)
        seat.start()
        return seat

    def _leave(self, person: int, _: float) -> None:
        with self._lock:
            seat = self.seats.pop(person, None)
        if seat is None:
            # Still waiting for a seat, or denied all day: leaves without one.
            with self._lock:
                self.waiting.discard(person)
                self._agenda = [entry for entry in self._agenda if entry[3] != person]
                heapq.heapify(self._agenda)
            return
        seat.release()
        with self._lock:
            self.counted["released"] += 1
            self.used -= 1

    def _export(self, person: int, minute: float) -> None:
        """Who has a seat exports a file or two; every other request is sent twice."""
        with self._lock:
            if person not in self.seats:
                return
        quantity, tries = 1 + person % 2, 1 + person % 2
        request_key = self._client.new_request_key()
        for _ in range(tries):
            try:
                consumed = self._client.consume("exports", quantity, request_key=request_key)
            except Denied:
                with self._lock:
                    self.counted["export attempts denied"] += 1
                consumed = None
        with self._lock:
            if consumed is None:
                self.counted["export requests denied"] += 1
                return
            if not self.counted["exports in overdraft"] and consumed.is_overdraft:
                self._say(minute, "more exports than the 100 purchased: granted, as overdraft")
            self.exports += quantity
            self.counted["exports in overdraft"] += consumed.overdraft_quantity

    def _buy(self, _: int, minute: float) -> None:
        terms = self._vendor.update_entitlement(self._id, {"seatCount": self.purchased + BOUGHT})
        with self._lock:
            self.purchased, self.cap = terms["seatCount"] or 0, terms["hardCap"] or 0
            self._say(minute, f"{BOUGHT} seats bought: {self.purchased} purchased, cap {self.cap}")

    def _inspect(self, _: int, minute: float) -> None:
        with self._lock:
            self.checks += check(self, self._vendor, self._id, clock(minute))

    # --- What is seen ---------------------------------------------------------------------------

    @property
    def holders(self) -> dict[int, str]:
        """Who holds a seat, by which grant."""
        kept = {
            person: seat.activation.activation_id
            for person, seat in self.seats.items()
            if seat.activation
        }
        return kept | self.abandoned

    def _note(self, seats: Seats | None) -> None:
        self.used = seats.used if seats else 0
        self.peak = max(self.peak, self.used)

    def _say(self, minute: float, text: str) -> None:
        self.news = [*self.news[-4:], f"{clock(minute)}  {text}"]


def clock(minute: float) -> str:
    """A minute of the day as HH:MM."""
    return f"{int(minute) // 60:02d}:{int(minute) % 60:02d}"


def draw(day: Day, minute: float, width: int) -> Group:
    """The state of the day as one picture."""
    scale = max(20, min(width - 12, 100)) / 150
    within = min(day.used, day.purchased)
    bar = Text("  ")
    bar.append("█" * round(within * scale), "green")
    bar.append("█" * round((day.used - within) * scale), "yellow")
    free = day.cap - day.used
    bar.append("░" * max(0, round(free * scale)), "dim")
    bar.append(f"▏ cap {day.cap}", "red")
    counts = Table.grid(padding=(0, 3))
    counts.add_row(
        f"used [bold]{day.used}[/] of {day.purchased} purchased",
        f"overdraft [yellow]{max(0, day.used - day.purchased)}[/]",
        f"denied [red]{day.counted['denied']}[/] times, {len(day.turned_away)} people",
        f"waiting {len(day.waiting)}",
    )
    levels = " ▁▂▃▄▅▆▇█"
    graph = Text("  ")
    for used, purchased in day.graph:
        style = "yellow" if used > purchased else "green"
        graph.append(levels[min(8, used * 8 // 140)], style)
    return Group(
        Text(f"\n  Acme Corp, {clock(minute)}", "bold"),
        bar,
        Padding(counts, (0, 2)),
        graph,
        *(Text("  " + line, "dim") for line in day.news),
    )


def live_through(day: Day, console: Console) -> None:
    """Run the day and draw it; on a pipe, a line every half-hour."""
    shown = -1
    with Live(console=console, refresh_per_second=10, transient=False) as live:
        for minute in day.run():
            slot = int(minute) // 10
            if slot != shown:
                shown = slot
                day.graph.append((day.used, day.purchased))
                if not console.is_terminal and slot % 3 == 0:
                    print(
                        f"  {clock(minute)}  used {day.used:3d} of {day.purchased}"
                        f"  overdraft {max(0, day.used - day.purchased):2d}"
                        f"  denied {day.counted['denied']:3d}",
                        flush=True,
                    )
            if console.is_terminal:
                live.update(draw(day, minute, console.width))


def check(day: Day, vendor: Vendor, entitlement_id: str, when: str) -> list[Check]:
    """The clients' counts, and the same from the API."""
    entitlement = vendor.get_entitlement(entitlement_id)
    seats = entitlement["seats"]
    assert seats is not None
    listed = list(vendor.list_activations(entitlement_id))
    holders = day.holders
    names = {f"user{person:03d}@acme.com" for person in holders}
    return [
        (f"{when}: seats held", len(holders), seats["used"]),
        (f"{when}: grants held", set(holders.values()), {e["activationId"] for e in listed}),
        (f"{when}: people", names, {each["seatId"] for each in listed}),
        (f"{when}: overdraft", max(0, len(holders) - day.purchased), seats["overdraftUsed"]),
        (
            f"{when}: purchased and cap",
            (day.purchased, day.cap),
            (entitlement["seatCount"], entitlement["hardCap"]),
        ),
    ]


def check_evidence(
    day: Day, vendor: Vendor, entitlement_id: str, receiver: Receiver
) -> list[Check]:
    """The clients' counts, the events received, and what the API has on record."""
    granted = day.counted["within"] + day.counted["overdraft"]
    denied_in_all = day.counted["denied"] + day.counted["export attempts denied"]
    wait_for_events(receiver, granted + denied_in_all)
    received = list(receiver.events.values())
    kinds = Counter(event["type"] for event in received)
    reasons = Counter(event["data"].get("reason") for event in received)
    overdraft = sum(
        event["type"] == SEAT_ACTIVATED and event["data"]["seat"]["isOverdraftSeat"]
        for event in received
    )
    denied = {event["data"]["seat"]["seatId"] for event in received if event["type"] == SEAT_DENIED}
    use: list[Any] = list(vendor.get_usage_history(entitlement_id, interval="15m"))
    denials: list[Any] = list(vendor.list_denials(entitlement_id))
    turned_away = {f"user{person:03d}@acme.com" for person in day.turned_away}
    episodes = list(vendor.list_overdrafts(entitlement_id))
    exits = [event for event in received if event["type"] == OVERDRAFT_EXITED]
    return [
        ("events received: seats taken", granted, kinds[SEAT_ACTIVATED]),
        ("events received: of these in overdraft", day.counted["overdraft"], overdraft),
        ("events received: seats given back", day.counted["released"], reasons["released"]),
        ("events received: attempts denied", day.counted["denied"], kinds[SEAT_DENIED]),
        ("events received: people denied", turned_away, denied),
        ("signatures that did not verify", 0, receiver.refused),
        ("history: seats taken", granted, sum(each["activations"] for each in use)),
        (
            "history: seats given back",
            day.counted["released"],
            sum(each["releases"] for each in use),
        ),
        ("history: attempts denied", day.counted["denied"], sum(e["deniedAttempts"] for e in use)),
        (
            "history: leases that ran out, as in the events",
            reasons["lease_expired"],
            sum(each["expiries"] for each in use),
        ),
        ("denials: attempts", day.counted["denied"], sum(each["attempts"] for each in denials)),
        ("denials: people", turned_away, {each["seatId"] for each in denials}),
        (
            "overdrafts: they ended when the events say",
            # By the episode that the event carries: its own time may be some milliseconds before
            # the change that it follows, since functions' clocks differ.
            {event["data"]["episode"]["end"] for event in exits[-1:]},
            {each["end"] for each in episodes[:1] if each["end"]},
        ),
    ]


def check_exports(day: Day, vendor: Vendor, entitlement_id: str, receiver: Receiver) -> list[Check]:
    """The same for the usage limit."""
    counted = day.counted
    [limit] = vendor.get_usage(entitlement_id)
    use: list[Any] = list(
        vendor.get_usage_history(entitlement_id, usage_key="exports", interval="hour")
    )
    denials = list(vendor.list_denials(entitlement_id, usage_key="exports"))
    kinds = Counter(event["type"] for event in receiver.events.values())
    return [
        ("exports: used", day.exports, limit["usage"]["used"]),
        ("exports: overdraft", counted["exports in overdraft"], limit["usage"]["overdraftUsed"]),
        ("exports, history: consumed", day.exports, sum(each["consumed"] for each in use)),
        (
            "exports, history: attempts denied",
            counted["export attempts denied"],
            sum(each["deniedAttempts"] for each in use),
        ),
        ("exports, denials: requests", counted["export requests denied"], len(denials)),
        (
            "exports, events received: attempts denied",
            counted["export attempts denied"],
            kinds[USAGE_DENIED],
        ),
        (
            "exports, events received: overdraft entered",
            int(counted["exports in overdraft"] > 0),
            kinds[USAGE_OVERDRAFT_ENTERED],
        ),
    ]


def make_report(vendor: Vendor, entitlement_id: str, since: int) -> dict[str, Any]:
    """The report of the day, made by the stack; its entry, and its files in `.local/`."""
    report = vendor.create_report(
        {"from": to_rfc3339(since), "filters": {"entitlementId": entitlement_id}}
    )
    for _ in range(PATIENCE_SECONDS * 4):
        report = vendor.get_report(report["reportId"])
        if report["status"] in ("published", "failed"):
            break
        time.sleep(0.25)
    if report["status"] != "published":
        raise LocalError(f"The report is {report['status']}: {report['failure']}")
    made: dict[str, Any] = {}
    for file in report["files"]:
        answer = urllib3.request("GET", file["url"])
        if answer.status != 200:
            raise LocalError(f"A link to the report answers {answer.status}.")
        REPORT_FILE.with_suffix(f".{file['format']}").write_bytes(answer.data)
        if file["format"] == "json":
            made = answer.json()
    [entry] = made["entitlements"]
    return dict(entry)


def check_report(day: Day, entry: dict[str, Any]) -> list[Check]:
    """The clients' counts, and the same from the report for sales."""
    seats, [exports] = entry["seats"], entry["usage"]
    return [
        (
            "report: seats taken",
            day.counted["within"] + day.counted["overdraft"],
            seats["activations"],
        ),
        ("report: people denied", len(day.turned_away), seats["deniedSeats"]),
        ("report: attempts denied", day.counted["denied"], seats["deniedAttempts"]),
        (
            "report: purchased and cap",
            (day.purchased, day.cap),
            (seats["purchased"], seats["hardCap"]),
        ),
        ("report: exports consumed", day.exports, exports["consumed"]),
        (
            "report: export requests denied",
            day.counted["export requests denied"],
            exports["deniedRequests"],
        ),
    ]


def open_report(entry: dict[str, Any]) -> None:
    """Print what the report says and where it is; open it if there is a screen."""
    seats, worth = entry["seats"], entry["monthlyValue"]
    print(
        f"\n  The report for sales: at the peak {seats['peak']} seats, {seats['seatHours']:.2f}"
        f" seat-hours over, {seats['deniedSeats']} people denied; suggested"
        f" {seats['suggested']['seats']} seats, {worth['amount']} {worth['currency']} more a month."
        f"\n  It is in {REPORT_FILE.relative_to(ROOT)} (and .xlsx, .csv, .json)."
    )
    has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.stdout.isatty() and (has_screen or sys.platform in ("darwin", "win32")):
        webbrowser.open(REPORT_FILE.as_uri())


def print_next_steps(details: dict[str, str], path: str, link: str, console: str) -> None:
    """Print what to look at next, while the stack runs."""
    url, key = details["apiUrl"], f"-H 'Authorization: Bearer {details['apiKey']}'"
    mails = details.get("receiverUrl")
    print(
        "\n  Look at, while the stack runs:"
        f"\n  the day as the customer's administrator sees it\n    {link}"
        f"\n  the day as your own people see it (the link signs in once)\n    {console}"
        f"\n  who was denied\n    curl {url}{path}/denials {key}"
        f"\n  when more than 100 seats were in use\n    curl {url}{path}/overdrafts {key}"
        + (f"\n  the e-mails that it caused\n    {mails}/mails" if mails else "")
        + f"\n  the API\n    {url}/docs\n"
    )


def wait_for_events(receiver: Receiver, count: int) -> None:
    """Wait until that many events of seats have arrived and no more came for a while."""
    seen, moved = -1, time.monotonic()
    while True:
        types = [event["type"] for event in receiver.events.values()]
        if len(types) != seen:
            seen, moved = len(types), time.monotonic()
        has_all = (
            sum(kind in (SEAT_ACTIVATED, SEAT_DENIED, USAGE_DENIED) for kind in types) >= count
        )
        if time.monotonic() - moved > (QUIET_SECONDS if has_all else PATIENCE_SECONDS):
            return
        time.sleep(0.1)


def sum_up(day: Day, checks: list[Check]) -> bool:
    """Print the day and the checks; whether all agree."""
    counted = day.counted
    print(
        f"\n  The day: {counted['within']} grants within the limit,"
        f" {counted['overdraft']} in overdraft,"
        f" {counted['released']} releases.\n"
        f"  {counted['denied']} attempts of {len(day.turned_away)} people were denied;"
        f" at the peak {day.peak} seats were in use; {CRASHES} machines crashed,"
        f" and their seats are freed when their leases run out.\n"
        f"  {day.exports} exports were counted,"
        f" {counted['exports in overdraft']} of them overdraft;"
        f" {counted['export requests denied']} requests did not fit.\n\n"
        "  What the clients counted, what the stack says, and what the receiver got:"
    )
    for name, counted, answered in checks:
        same = counted == answered
        shown = f"{len(counted)}, the same ones" if isinstance(counted, set) and same else counted
        against = "" if same else f", but the stack says {answered}"
        print(f"  {'✓' if same else '✗'} {name}: {shown}{against}")
    return all(counted == answered for _, counted, answered in checks)


def forget_swept(day: Day, vendor: Vendor, entitlement_id: str) -> None:
    """The leases of crashed machines expire at a moment that no client sees: follow the API."""
    held = {each["activationId"] for each in vendor.list_activations(entitlement_id)}
    day.abandoned = {
        person: activation for person, activation in day.abandoned.items() if activation in held
    }


@contextmanager
def some_stack() -> Iterator[dict[str, str]]:
    """The stack that runs already, or one that is started for the demo."""
    details = read_details()
    if details and is_running(details):
        print(f"  using the stack at {details['emulatorUrl']}")
        yield details
        return
    print("  no stack is running; starting one")
    with running(free_port()) as (own, _):
        yield own


def main() -> None:
    """The whole demo; ends with exit code 1 when a count does not agree."""
    with some_stack() as details, Receiver() as receiver:
        url, api = details["apiUrl"], Api(details["apiUrl"], f"Bearer {details['apiKey']}")
        vendor = Vendor(url, details["apiKey"], retry=RETRY)
        terms: Any = {**DEMO_ENTITLEMENT, "leasePeriod": LEASE}
        entitlement_id = vendor.create_entitlement(terms)["entitlementId"]
        key = vendor.create_license_key(entitlement_id, {"name": "demo"})["key"]
        webhook = subscribe(api, receiver, entitlementId=entitlement_id)
        now = int(time.time())
        since = (now - now % 900) * 1000
        print(
            f"  {PEOPLE} people, 100 seats purchased, hard cap 120;"
            f" one hour takes {SECONDS_PER_HOUR:.0f} s\n"
        )
        with Overdraft(url, key, stores=False, offline="deny", retry=RETRY) as client:
            day = Day(vendor, client, entitlement_id)
            live_through(day, Console())
            print("\n  waiting for the last events ...")
            for _ in range(TRIES):
                # Leases of crashed machines may run out between two looks.
                evidence = [
                    *check_evidence(day, vendor, entitlement_id, receiver),
                    *check_exports(day, vendor, entitlement_id, receiver),
                ]
                if all(counted == answered for _, counted, answered in evidence):
                    break
            forget_swept(day, vendor, entitlement_id)
            entry = make_report(vendor, entitlement_id, since)
            checks = [
                *day.checks,
                *check(day, vendor, entitlement_id, "at the end"),
                *evidence,
                *check_report(day, entry),
            ]
        vendor.delete_webhook(webhook)
        if not sum_up(day, checks):
            raise LocalError("The counts do not agree.")
        open_report(entry)
        path = f"/v1/entitlements/{entitlement_id}"
        console = console_link(api, f"/entitlements/{entitlement_id}")
        print_next_steps(details, path, portal_link(api, path), console)
