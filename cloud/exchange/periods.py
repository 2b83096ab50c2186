"""Charging periods of a proven bill: its session, cut where the tariff's prices change.

Hours tell whole seconds only, so borders within a second are rounded as they stand, not each volume: the seconds of all periods
add up to the session's. Energy is exact.
Source: OCPI 2.2.1-bugfixes, mod_cdrs, ChargingPeriod and CdrDimension; ADR-0004; ADR-0010 for power.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from cloud.exchange.formats import KILO, decimal, hours, kwh, time_text
from energyshare.charging import meter_points
from energyshare.evidence import Proof
from energyshare.rating import ChargingPeriod as Period
from energyshare.rating import Session
from energyshare.session import MeterPoint, metered_session
from energyshare.tariff import tariff_of
from energyshare.tariff_matching import Level
from energyshare.values import ChargeBasis, Kind

MICRO = 10**6
KW_PLACES = 12  # finer than two powers of whole Wh over whole seconds can lie apart from a whole W


class CdrDimension(msgspec.Struct, frozen=True):
    """How much of one dimension: kWh, hours or kW."""

    type: str
    volume: Decimal


class ChargingPeriod(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a session from its start to that of the next, or to the session's end."""

    start_date_time: str
    dimensions: list[CdrDimension]
    tariff_id: str | None = None


def charging_periods(session: Session, tariff_id: str | None) -> list[ChargingPeriod]:
    """Write a session's periods; at least one, of no time, as a charge record has to have one."""
    periods = [
        ChargingPeriod(time_text(period.start), dimensions, tariff_id)
        for period, seconds in _with_seconds(session)
        if (dimensions := list(_dimensions(period, seconds)))
    ]
    return periods or [ChargingPeriod(time_text(session.start), [CdrDimension("TIME", Decimal(0))], tariff_id)]


def session_of(proof: Proof) -> Session:
    """Give the session that a bill was priced by: of a service the time worked, and nothing where FLAT alone is billed."""
    evidence, start_time = proof.evidence, proof.record.body.start_time
    zone, tariff, voucher = evidence.offer.asset.time_zone, tariff_of(evidence.offer.tariff), evidence.voucher
    if evidence.offer.asset.kind is Kind.SERVICE:
        return Session(start_time, zone, (Period(start_time, 0, proof.record.body.duration_s, 0, 0, 0),))
    metered = _metered(proof)
    if metered is None:
        return Session(start_time, zone, ())
    return metered_session(start_time, zone, *metered, voucher.energy_wh_max, voucher.duration_s_max, tariff)


def parking_s(session: Session) -> int:
    """Give the seconds in which it did not supply."""
    return sum(seconds for period, seconds in _with_seconds(session) if period.parking_time_s)


def _metered(proof: Proof) -> tuple[Sequence[MeterPoint], int, int] | None:
    """Give the meter values, and the time and energy at the end, that the bill rests on."""
    evidence, basis = proof.evidence, proof.outcome.full.basis
    start, voucher = evidence.start, evidence.voucher
    assert start is not None
    points = meter_points(start, evidence.readings)
    if basis is ChargeBasis.END_RECEIPT and evidence.end is not None:
        return points, evidence.end.elapsed_s, evidence.end.register_wh - start.register_wh
    if basis is ChargeBasis.LAST_READING:
        last = evidence.readings[-1]
        return points, last.elapsed_s, last.register_wh - start.register_wh
    if basis is ChargeBasis.CAP:
        return (MeterPoint(0, 0, True),), voucher.duration_s_max, voucher.energy_wh_max
    return None


def _with_seconds(session: Session) -> Iterator[tuple[Period, int]]:
    """Give each period with its whole seconds."""
    for period in session.periods:
        since = _second(Fraction(period.start - session.start, MICRO))
        until = _second(Fraction(period.start - session.start, MICRO) + period.time_s + period.parking_time_s)
        yield period, until - since


def _second(elapsed_s: Fraction) -> int:
    """Round to a second, halves up."""
    return (elapsed_s + Fraction(1, 2)).__floor__()


def _dimensions(period: Period, seconds: int) -> Iterator[CdrDimension]:
    if period.energy_wh:
        yield CdrDimension("ENERGY", kwh(period.energy_wh))
    if seconds:
        yield CdrDimension("PARKING_TIME" if period.parking_time_s else "TIME", hours(seconds))
    if period.energy_wh or seconds:
        yield from _powers(period)


def _powers(period: Period) -> Iterator[CdrDimension]:
    """Give the power where the tariff asks for it; energy that came in no time has none that could be written."""
    levels = (("MIN_POWER", period.flow.min_power), ("MAX_POWER", period.flow.max_power))
    for name, level in levels:
        if level is not None and level[1]:
            yield CdrDimension(name, _kw(level))


def _kw(level: Level) -> Decimal:
    return decimal(Fraction(*level) / KILO, KW_PLACES)
