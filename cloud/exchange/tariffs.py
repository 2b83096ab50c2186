"""Tariffs as OCPI 2.2.1 objects, written from the value by which the cloud bills.

Prices that a tariff has for items are left out, as OCPI knows none: they price services only, which no charge record is about.
Source: OCPI 2.2.1-bugfixes, mod_tariffs.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cloud.exchange.formats import KILO, decimal, time_text
from cloud.exchange.parties import Party, half_text
from energyshare.signing import Label, digest
from energyshare.tariff import (
    MINUTES_A_DAY,
    PRICE_DIGITS,
    VAT_DIGITS,
    WEEKDAYS,
    FlowRestrictions,
    PriceComponent,
    PriceLimit,
    Restrictions,
    TariffElement,
    tariff_of,
)
from energyshare.values import Dimension, Instant

Fields = dict[str, object]

PASSED_ON = ("type", "tariff_alt_text", "tariff_alt_url", "energy_mix")
MILLI_PLACES = 3


def tariff_id(body: bytes) -> str:
    """Name a tariff by the hash of its bytes: the same ones have one id, others another."""
    return half_text(digest(Label.TARIFF, body))


def tariff_object(body: bytes, party: Party, known_since: Instant) -> Fields | None:
    """Write a tariff as it travels in offers as an OCPI object; None when it prices nothing but items.

    `known_since` is its last_updated where it has none itself. Raises: TariffError.
    """
    tariff, given = tariff_of(body), _given(body)
    elements = [written for element in tariff.elements if (written := _element(element))]
    if not elements:
        return None
    return _there(
        {
            "country_code": party.country_code,
            "party_id": party.party_id,
            "id": tariff_id(body),
            "currency": tariff.currency,
            **{name: given.get(name) for name in PASSED_ON},
            "min_price": tariff.min_price and _limit(tariff.min_price),
            "max_price": tariff.max_price and _limit(tariff.max_price),
            "elements": elements,
            "start_date_time": None if tariff.start_time is None else time_text(tariff.start_time),
            "end_date_time": None if tariff.end_time is None else time_text(tariff.end_time),
            "last_updated": given.get("last_updated") or time_text(known_since),
        }
    )


def _given(body: bytes) -> Mapping[str, Any]:
    """Read the fields that decide no price as they are."""
    fields: Mapping[str, Any] = json.loads(body, parse_float=Decimal)
    return fields


def _there(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def _element(element: TariffElement) -> Fields | None:
    components = [_component(one) for one in element.components if one.dimension is not Dimension.ITEM]
    if not components:
        return None
    return _there({"price_components": components, "restrictions": _restrictions(element.restrictions) or None})


def _component(component: PriceComponent) -> Fields:
    return {
        "type": component.dimension.name,
        "price": decimal(Fraction(component.price, 10**PRICE_DIGITS), PRICE_DIGITS),
        "vat": decimal(Fraction(component.vat, 10**VAT_DIGITS), VAT_DIGITS),
        "step_size": component.step_size,
    }


def _limit(limit: PriceLimit) -> Fields:
    amounts = {"excl_vat": limit.excl_vat, "incl_vat": limit.incl_vat}
    return {
        name: decimal(Fraction(value, 10**PRICE_DIGITS), PRICE_DIGITS) for name, value in amounts.items() if value is not None
    }


def _restrictions(r: Restrictions) -> Fields:
    days = None if r.weekdays is None else [WEEKDAYS[day] for day in sorted(r.weekdays)]
    return _there(
        {
            "start_time": _clock(r.start_time),
            "end_time": _clock(r.end_time),
            "start_date": r.start_date and r.start_date.isoformat(),
            "end_date": r.end_date and r.end_date.isoformat(),
            "min_kwh": _kilo(r.min_energy_wh),
            "max_kwh": _kilo(r.max_energy_wh),
            **(_flow(r.flow) if r.flow else {}),
            "min_duration": r.min_duration_s,
            "max_duration": r.max_duration_s,
            "day_of_week": days,
            "reservation": r.reservation,
        }
    )


def _flow(flow: FlowRestrictions) -> Fields:
    return {
        "min_current": _kilo(flow.min_current_ma),
        "max_current": _kilo(flow.max_current_ma),
        "min_power": _kilo(flow.min_power_w),
        "max_power": _kilo(flow.max_power_w),
    }


def _clock(minute: int | None) -> str | None:
    if minute is None:
        return None
    return "{:02d}:{:02d}".format(*divmod(minute % MINUTES_A_DAY, 60))


def _kilo(value: int | None) -> Decimal | None:
    return None if value is None else decimal(Fraction(value, KILO), MILLI_PLACES)
