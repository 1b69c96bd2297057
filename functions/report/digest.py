"""The digest of a week: which overdrafts began, which ended, what is about to end."""

from typing import Any

from functions.report.columns import meters
from functions.report.table import Entry
from shared.clock import from_rfc3339_ms
from shared.history.buckets import DAY_MS

# So many of each kind are named; the others are counted.
NAMED = 20
# How soon the end of an overdraft's period, or of a term, is worth a line.
PERIOD_MS, TERM_MS = 14 * DAY_MS, 30 * DAY_MS


class Digest:
    """Takes the entries of a week's report. `until` is its time in Unix milliseconds."""

    def __init__(self, until: int) -> None:
        self._until = until
        self._found: dict[str, list[tuple[str, dict[str, Any]]]] = {
            kind: [] for kind in ("began", "ended", "ending")
        }

    def add(self, entry: Entry) -> None:
        """Note what one entry says."""
        for meter in meters(entry):
            key = meter.get("key")
            self._note("began", entry, key, meter["beganAt"])
            self._note("ended", entry, key, meter["endedAt"])
            ends_at = (meter["overdraft"] or {}).get("endsAt")
            if entry["status"] == "active" and self._is_soon(ends_at, PERIOD_MS):
                self._note("ending", entry, key, ends_at)
        if entry["status"] == "active" and self._is_soon(entry["validUntil"], TERM_MS):
            self._note("ending", entry, None, entry["validUntil"])

    def _is_soon(self, at: str | None, within: int) -> bool:
        return at is not None and 0 < from_rfc3339_ms(at) - self._until <= within

    def _note(self, kind: str, entry: Entry, key: str | None, at: str | None) -> None:
        if at is not None:
            item = {
                "entitlementId": entry["entitlementId"],
                "customer": entry["customer"]["name"],
                "product": entry["product"],
                "usageKey": key,
                "at": at,
            }
            self._found[kind].append((at, item))

    def view(self) -> dict[str, Any]:
        """The last that began and ended, the next that end, and how many there are of each."""
        made: dict[str, Any] = {}
        for kind, found in self._found.items():
            found.sort(key=lambda each: each[0], reverse=kind != "ending")
            made[kind] = [item for _, item in found[:NAMED]]
            made[f"{kind}Count"] = len(found)
        return made
