"""The vendor's side of the API: a typed method for each call, for servers with an API key."""

from typing import TYPE_CHECKING

from overdraft.vendor.blocking import Vendor

if TYPE_CHECKING:
    from overdraft.vendor.awaiting import AsyncVendor


def __getattr__(name: str) -> object:
    """What needs asyncio is loaded by those who use it."""
    if name == "AsyncVendor":
        from overdraft.vendor import awaiting  # noqa: PLC0415

        return awaiting.AsyncVendor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["AsyncVendor", "Vendor"]
