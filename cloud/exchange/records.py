"""Charge records as OCPI 2.2.1 charge detail records, and the credits that take back what a later record corrects.

Every record is checked against its signed evidence before it is written. Amounts are those of the record, in major units; the
claim on a deposit is in total_fixed_cost, without VAT.
Source: OCPI 2.2.1-bugfixes, mod_cdrs; docs/adr/0008-corrections.md; docs/exchange.md.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from uuid import UUID, uuid5

import msgspec

from cloud.exchange.formats import Price, amount, hours, kwh, price, time_text
from cloud.exchange.parties import Party, half_text
from cloud.exchange.periods import ChargingPeriod, charging_periods, parking_s, session_of
from cloud.exchange.tariffs import Fields, tariff_id, tariff_object
from energyshare.bodies import Asset, BillLine, ChargeRecordBody
from energyshare.evidence import Proof
from energyshare.ocpi_records import ZONE_WORDS
from energyshare.signing import key_id
from energyshare.values import (
    AccountId,
    Connector,
    Currency,
    Dimension,
    Instant,
    Kind,
    Money,
    PowerW,
    ProviderId,
    later,
)
from energyshare.values import id_text as uuid_text

ADDRESS_MAX = 45
UNKNOWN = "#NA"
FIXED = (Dimension.FLAT, Dimension.ITEM)
PERCENT = 100
CREDIT_END = "-C"
ONE_PHASE_W_MAX = 7_400  # 32 A at 230 V
DEGREE_PLACES = 6  # a latitude has ten characters
PLUGS = {
    Connector.GBT_AC: ("GBT_AC", "SOCKET"),
    Connector.GBT_DC: ("GBT_DC", "CABLE"),
    Connector.IEC_62196_T2: ("IEC_62196_T2", "SOCKET"),
    Connector.IEC_62196_T2_COMBO: ("IEC_62196_T2_COMBO", "CABLE"),
    Connector.CHADEMO: ("CHADEMO", "CABLE"),
}
DIRECT = frozenset({Connector.GBT_DC, Connector.IEC_62196_T2_COMBO, Connector.CHADEMO})


class GeoLocation(msgspec.Struct, frozen=True):
    """A place in WGS-84, in degrees."""

    latitude: str
    longitude: str


class CdrLocation(msgspec.Struct, frozen=True):
    """Where it was: the station and the one outlet or battery."""

    id: str
    name: str
    address: str
    city: str
    country: str
    coordinates: GeoLocation
    evse_uid: str
    evse_id: str
    connector_id: str
    connector_standard: str
    connector_format: str
    connector_power_type: str


class CdrToken(msgspec.Struct, frozen=True):
    """Who it was: the phone by its key, the contract by the account; no name."""

    country_code: str
    party_id: str
    uid: str
    type: str
    contract_id: str


class Cdr(msgspec.Struct, frozen=True, omit_defaults=True):
    """A charge detail record."""

    country_code: str
    party_id: str
    id: str
    start_date_time: str
    end_date_time: str
    session_id: str
    cdr_token: CdrToken
    auth_method: str
    cdr_location: CdrLocation
    meter_id: str
    currency: str
    tariffs: list[Fields]
    charging_periods: list[ChargingPeriod]
    total_cost: Price
    total_energy: Decimal
    total_time: Decimal
    total_parking_time: Decimal
    remark: str
    last_updated: str
    total_fixed_cost: Price | None = None
    total_energy_cost: Price | None = None
    total_time_cost: Price | None = None
    total_parking_cost: Price | None = None
    credit: bool | None = None
    credit_reference_id: str | None = None


def cdr_of(proof: Proof, account: AccountId, party: Party) -> Cdr:
    """Write a charge record; that of a service without its tariff, as OCPI has no prices of items."""
    record, offer, session = proof.record.body, proof.evidence.offer, session_of(proof)
    is_service = record.kind is Kind.SERVICE
    tariff = None if is_service else tariff_object(offer.tariff, party, record.start_time)
    claimed, currency = record.deposit_claimed_minor, record.currency
    return Cdr(
        country_code=party.country_code,
        party_id=party.party_id,
        id=half_text(proof.record.digest),
        start_date_time=time_text(record.start_time),
        end_date_time=time_text(later(record.start_time, record.duration_s)),
        session_id=uuid_text(record.order_id),
        cdr_token=_token(proof, account, party),
        auth_method="AUTH_REQUEST",
        cdr_location=_location(offer.asset, offer.provider_id, party),
        meter_id=uuid_text(offer.asset.device_id),
        currency=currency,
        tariffs=[tariff] if tariff else [],
        charging_periods=charging_periods(session, None if is_service else tariff_id(offer.tariff)),
        total_cost=price(record.excl_vat_minor + claimed, record.incl_vat_minor + claimed, currency),
        total_energy=kwh(record.energy_wh),
        total_time=hours(record.duration_s),
        total_parking_time=hours(parking_s(session)),
        remark=_remark(record, offer.asset.time_zone),
        last_updated=time_text(record.settled_time),
        total_fixed_cost=_cost(record.lines, FIXED, currency, claimed),
        total_energy_cost=_cost(record.lines, (Dimension.ENERGY,), currency),
        total_time_cost=_cost(record.lines, (Dimension.TIME,), currency),
        total_parking_cost=_cost(record.lines, (Dimension.PARKING_TIME,), currency),
    )


def credit_of(cdr: Cdr, since: Instant) -> Cdr:
    """Write the credit of a charge record: all that it said, with the negative of its total cost."""
    total = cdr.total_cost
    return msgspec.structs.replace(
        cdr,
        id=cdr.id + CREDIT_END,
        total_cost=Price(_negative(total.excl_vat), _negative(total.incl_vat)),
        last_updated=time_text(since),
        credit=True,
        credit_reference_id=cdr.id,
    )


def _negative(value: Decimal) -> Decimal:
    return -value if value else value


def _token(proof: Proof, account: AccountId, party: Party) -> CdrToken:
    phone = key_id(proof.evidence.voucher.holder_key).hex()
    return CdrToken(party.country_code, party.party_id, phone, "APP_USER", uuid_text(account))


def _location(asset: Asset, provider: ProviderId, party: Party) -> CdrLocation:
    standard, form = PLUGS.get(asset.connector, (party.domestic, "SOCKET"))
    return CdrLocation(
        id=str(uuid5(UUID(bytes=provider), asset.station)),
        name=asset.station,
        address=asset.station[:ADDRESS_MAX],
        city=UNKNOWN,
        country=party.country,
        coordinates=GeoLocation(_degrees(asset.place.latitude_e7), _degrees(asset.place.longitude_e7)),
        evse_uid=uuid_text(asset.asset_id),
        evse_id=party.evse_id(asset.asset_id),
        connector_id=UNKNOWN if asset.connector is Connector.NONE else "1",
        connector_standard=standard,
        connector_format=form,
        connector_power_type=_power_type(asset.connector, asset.power_w),
    )


def _power_type(connector: Connector, power_w: PowerW) -> str:
    if connector in DIRECT:
        return "DC"
    return "AC_3_PHASE" if connector in PLUGS and power_w > ONE_PHASE_W_MAX else "AC_1_PHASE"


def _degrees(value_e7: int) -> str:
    return f"{Decimal(value_e7).scaleb(-7):.{DEGREE_PLACES}f}"


def _cost(lines: Iterable[BillLine], dimensions: Sequence[Dimension], currency: Currency, more_minor: int = 0) -> Price | None:
    """Sum the lines of some dimensions, with what has no VAT besides; None when there is nothing of them."""
    found = [line for line in lines if line.dimension in dimensions]
    if not found and not more_minor:
        return None
    excl_vat = sum((Fraction(line.excl_vat_minor) for line in found), Fraction(more_minor))
    vat = sum((Fraction(line.excl_vat_minor) * Fraction(line.vat) / PERCENT for line in found), Fraction(0))
    return Price(amount(excl_vat, currency), amount(excl_vat + vat, currency))


def _remark(record: ChargeRecordBody, time_zone: str) -> str:
    """Say what OCPI has no field for."""
    claimed = Money(record.currency, record.deposit_claimed_minor)
    deposit = f"; {claimed} of the deposit is claimed, without VAT" if claimed.amount_minor else ""
    kind, basis = record.kind.name.lower(), record.basis.name
    return f"{kind}, billed on {basis}; {ZONE_WORDS}{time_zone}{deposit}"
