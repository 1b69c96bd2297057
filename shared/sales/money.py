"""Amounts of money: decimals with the minor units of their currency, by ISO 4217."""

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache


class UnknownCurrency(ValueError):
    """ISO 4217 has no such currency, or it has no minor unit, as gold has none."""


@lru_cache(maxsize=256)
def minor_digits(currency: str) -> int:
    """How many decimals an amount of this currency has: 2 for EUR, 0 for JPY, 3 for KWD.

    Raises:
        UnknownCurrency.
    """
    # It reads a table of some 50 KB. Only who handles prices pays for that.
    from iso4217 import Currency  # noqa: PLC0415

    try:
        digits = Currency(currency).exponent
    except ValueError:
        digits = None
    if digits is None:
        raise UnknownCurrency(currency)
    return digits


def has_too_many_decimals(amount: str, currency: str) -> bool:
    """Whether an amount, a decimal in a string, is finer than the minor unit of its currency.

    Raises:
        UnknownCurrency.
    """
    return len(amount.partition(".")[2].rstrip("0")) > minor_digits(currency)


def rounded(exact: Fraction, currency: str) -> Decimal:
    """An exact amount in whole minor units, rounded half up. It is not negative."""
    digits = minor_digits(currency)
    units = (exact * 10**digits * 2 + 1) // 2
    return Decimal(units).scaleb(-digits)
