"""OCPI's numbers and times, exact: no float is on the way from a minor unit to the JSON.

Source: OCPI 2.2.1-bugfixes, types: number, DateTime, Price.
"""

from decimal import Decimal
from fractions import Fraction

import msgspec

from energyshare.values import Currency, Instant, currency_exponent, datetime_of

PLACES = 4  # OCPI's numbers have as many decimals unless an object says otherwise
KWH_PLACES = 9  # a session is counted in micro-watt-hours
HOUR_S = 3_600
KILO = 1_000

encoder = msgspec.json.Encoder(decimal_format="number")


class Price(msgspec.Struct, frozen=True):
    """An amount in major units without and with VAT."""

    excl_vat: Decimal
    incl_vat: Decimal


def decimal(value: Fraction | int, places: int = PLACES) -> Decimal:
    """Round to so many decimals, halves up, and write no zeros at the end."""
    scaled = (Fraction(value) * 10**places * 2 + 1) // 2
    digits = f"{scaled:0{places + 1}d}" if scaled >= 0 else f"-{-scaled:0{places + 1}d}"
    whole, fraction = digits[:-places], digits[-places:].rstrip("0")
    return Decimal(f"{whole}.{fraction}" if fraction else whole)


def hours(seconds: int) -> Decimal:
    """Give whole seconds in hours; four decimals tell them apart."""
    return decimal(Fraction(seconds, HOUR_S))


def kwh(energy_wh: Fraction | int) -> Decimal:
    """Give energy in kWh, exactly."""
    return decimal(Fraction(energy_wh) / KILO, KWH_PLACES)


def amount(minor: Fraction | int, currency: Currency, places: int = PLACES) -> Decimal:
    """Give an amount in major units."""
    return decimal(Fraction(minor) / 10 ** currency_exponent(currency), places)


def price(excl_vat_minor: Fraction | int, incl_vat_minor: Fraction | int, currency: Currency) -> Price:
    """Give an amount of minor units as OCPI has it."""
    return Price(amount(excl_vat_minor, currency), amount(incl_vat_minor, currency))


def time_text(instant: Instant) -> str:
    """Write a time in UTC, to the millisecond: a DateTime has 25 characters, so microseconds do not fit."""
    moment = datetime_of(instant)
    milliseconds = f".{moment.microsecond // 1_000:03d}" if moment.microsecond >= 1_000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{milliseconds}Z"
