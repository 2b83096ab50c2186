"""Charge records and tariffs out as OCPI: every field by the module's rules, every total by the exported periods and tariff.

The tales are those of the evidence; what the cloud kept of them is exported, read again as JSON, and priced by what
`energyshare tariff price` runs.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.cli import main
from cloud.config import CloudHome
from cloud.domain.ledger import Flag
from cloud.exchange.export import Exporter, LeftOut
from cloud.exchange.formats import amount, decimal, encoder, hours, time_text
from cloud.exchange.parties import Party
from cloud.exchange.periods import charging_periods
from cloud.exchange.records import Cdr, credit_of
from cloud.exchange.tariffs import tariff_object
from cloud.items import Presence
from cloud.store.cdrs import Asked
from cloud.store.database import open_writer
from energyshare.evidence import verify_bundle
from energyshare.home import lock_home, write_atomically
from energyshare.ocpi import price_case
from energyshare.ocpi_records import price_records, records_of
from energyshare.rating import rate
from energyshare.records import replace
from energyshare.session import MeterPoint, metered_session
from energyshare.tariff import Tariff, parse_tariff
from energyshare.tariff_json import parsed
from energyshare.values import ChargeBasis, Currency, Instant, Kind, OrderId, PartKind, ProviderId, Role, id_text, later
from tests.cloud import tales
from tests.cloud.actors import CALLOUT_TARIFF, CNY, PLATFORM, ROOT, T0, Cloud, found_cloud, grant, tariff_bytes
from tests.cloud.conftest import Template
from tests.cloud.story import Story
from tests.cloud.tales import TALES, Tale
from tests.cloud.told import Tell, Told, telling

Object = dict[str, Any]

PARTY = Party("CN", "ESH", "CHN", "DOMESTIC_I")
EXPORTER = Exporter(PARTY, ROOT.public, grant(b"C" * 16, Role.PLATFORM, PLATFORM).signed)
SUPPLIES = tuple(tale for tale in TALES if not tale.__name__.startswith("service_"))
SERVICES = tuple(tale for tale in TALES if tale.__name__.startswith("service_"))
CORRECTED = (
    tales.energy_disputed,
    tales.energy_disputed_three_times,
    tales.energy_confirmed_before_its_receipt_came,
    tales.battery_not_returned,
    tales.battery_returned_after_the_claim,
    tales.battery_damage_ruled_and_disputed,
)


@pytest.fixture(scope="module")
def tell(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tell]:
    with telling(template, tmp_path_factory.mktemp("export")) as tell_once:
        yield tell_once


def exported(told: Told, asked: Asked | None = None) -> list[Cdr | LeftOut]:
    return list(EXPORTER.cdrs(told.story.cloud.readers, asked or Asked()))


def cdrs(told: Told, asked: Asked | None = None) -> list[Object]:
    """The exported records as others read them: JSON, numbers as decimals."""
    found = exported(told, asked)
    assert all(isinstance(one, Cdr) for one in found), found
    return [json.loads(encoder.encode(one), parse_float=Decimal, parse_int=Decimal) for one in found]


# The module's rules: name, type, and whether it has to be there. Source: OCPI 2.2.1-bugfixes, mod_cdrs and types.

Rule = tuple[str, bool]

CDR_RULES: Mapping[str, Rule] = {
    "country_code": ("CiString(2)", True),
    "party_id": ("CiString(3)", True),
    "id": ("CiString(39)", True),
    "start_date_time": ("DateTime", True),
    "end_date_time": ("DateTime", True),
    "session_id": ("CiString(36)", False),
    "cdr_token": ("CdrToken", True),
    "auth_method": ("AUTH_REQUEST|COMMAND|WHITELIST", True),
    "authorization_reference": ("CiString(36)", False),
    "cdr_location": ("CdrLocation", True),
    "meter_id": ("string(255)", False),
    "currency": ("string(3)", True),
    "tariffs": ("Tariff*", False),
    "charging_periods": ("ChargingPeriod+", True),
    "total_cost": ("Price", True),
    "total_fixed_cost": ("Price", False),
    "total_energy": ("number", True),
    "total_energy_cost": ("Price", False),
    "total_time": ("number", True),
    "total_time_cost": ("Price", False),
    "total_parking_time": ("number", False),
    "total_parking_cost": ("Price", False),
    "total_reservation_cost": ("Price", False),
    "remark": ("string(255)", False),
    "invoice_reference_id": ("CiString(39)", False),
    "credit": ("boolean", False),
    "credit_reference_id": ("CiString(39)", False),
    "home_charging_compensation": ("boolean", False),
    "last_updated": ("DateTime", True),
}
CLASSES: Mapping[str, Mapping[str, Rule]] = {
    "Cdr": CDR_RULES,
    "Price": {"excl_vat": ("number", True), "incl_vat": ("number", False)},
    "ChargingPeriod": {
        "start_date_time": ("DateTime", True),
        "dimensions": ("CdrDimension+", True),
        "tariff_id": ("CiString(36)", False),
    },
    "CdrDimension": {
        "type": ("ENERGY|MAX_CURRENT|MIN_CURRENT|MAX_POWER|MIN_POWER|PARKING_TIME|RESERVATION_TIME|TIME", True),
        "volume": ("number", True),
    },
    "CdrToken": {
        "country_code": ("CiString(2)", True),
        "party_id": ("CiString(3)", True),
        "uid": ("CiString(36)", True),
        "type": ("AD_HOC_USER|APP_USER|OTHER|RFID", True),
        "contract_id": ("CiString(36)", True),
    },
    "CdrLocation": {
        "id": ("CiString(36)", True),
        "name": ("string(255)", False),
        "address": ("string(45)", True),
        "city": ("string(45)", True),
        "postal_code": ("string(10)", False),
        "state": ("string(20)", False),
        "country": ("string(3)", True),
        "coordinates": ("GeoLocation", True),
        "evse_uid": ("CiString(36)", True),
        "evse_id": ("CiString(48)", True),
        "connector_id": ("CiString(36)", True),
        "connector_standard": ("DOMESTIC_[A-O]|GBT_AC|GBT_DC|IEC_62196_T2|IEC_62196_T2_COMBO|CHADEMO", True),
        "connector_format": ("SOCKET|CABLE", True),
        "connector_power_type": ("AC_1_PHASE|AC_3_PHASE|DC", True),
    },
    "GeoLocation": {"latitude": (r"-?[0-9]{1,2}\.[0-9]{5,7}", True), "longitude": (r"-?[0-9]{1,3}\.[0-9]{5,7}", True)},
    "Tariff": {
        "country_code": ("CiString(2)", True),
        "party_id": ("CiString(3)", True),
        "id": ("CiString(36)", True),
        "currency": ("string(3)", True),
        "min_price": ("Price", False),
        "max_price": ("Price", False),
        "elements": ("TariffElement+", True),
        "start_date_time": ("DateTime", False),
        "end_date_time": ("DateTime", False),
        "last_updated": ("DateTime", True),
    },
    "TariffElement": {"price_components": ("PriceComponent+", True), "restrictions": ("object", False)},
    "PriceComponent": {
        "type": ("ENERGY|FLAT|PARKING_TIME|TIME", True),
        "price": ("number", True),
        "vat": ("number", False),
        "step_size": ("number", True),
    },
}
DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z")


def broken(value: Any, kind: str, path: str = "") -> Iterator[str]:
    """Say where an object does not keep the rules."""
    if kind in CLASSES:
        yield from broken_fields(value, CLASSES[kind], path)
    elif kind[-1] in "*+" and kind[:-1] in CLASSES:
        if not isinstance(value, list) or (kind[-1] == "+" and not value):
            yield f"{path}: no list, or an empty one"
        for index, one in enumerate(value):
            yield from broken(one, kind[:-1], f"{path}[{index}]")
    elif not is_of(value, kind):
        yield f"{path}: {value!r} is no {kind}"


def broken_fields(value: Object, rules: Mapping[str, Rule], path: str) -> Iterator[str]:
    yield from (f"{path}.{name}: is not known" for name in value if name not in rules)
    yield from (f"{path}.{name}: is missing" for name, (_, needed) in rules.items() if needed and name not in value)
    for name in value.keys() & rules.keys():
        yield from broken(value[name], rules[name][0], f"{path}.{name}")


def is_of(value: Any, kind: str) -> bool:
    """Say whether a plain value is of a type."""
    sized = re.fullmatch(r"(CiString|string)\(([0-9]+)\)", kind)
    if sized:
        is_text = isinstance(value, str) and 1 <= len(value) <= int(sized[2])
        return is_text and (sized[1] == "string" or re.fullmatch("[ -~]+", value) is not None)
    match kind:
        case "number":
            return isinstance(value, Decimal)
        case "boolean":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case "DateTime":
            return isinstance(value, str) and len(value) <= 25 and DATE_TIME.fullmatch(value) is not None
        case _:
            return isinstance(value, str) and re.fullmatch(kind, value) is not None


@pytest.mark.parametrize("tale", SUPPLIES)
def test_every_exported_record_keeps_the_module_s_rules(tell: Tell, tale: Tale) -> None:
    for cdr in cdrs(tell(tale)):
        assert list(broken(cdr, "Cdr")) == []
        is_credit = cdr.get("credit") is True
        assert is_credit == ("credit_reference_id" in cdr)
        assert len(cdr["id"]) <= (39 if is_credit else 36)
        assert {p["tariff_id"] for p in cdr["charging_periods"]} == {tariff["id"] for tariff in cdr["tariffs"]}


# Priced again by what was exported


def priced(cdr: Object) -> tuple[Decimal, Decimal]:
    """Price a whole record as `energyshare tariff price` does."""
    [answer] = price_records(records_of(encoder.encode([cdr])), None)
    assert "error" not in answer, answer
    stated = Decimal(str(answer["stated_excl_vat"])), Decimal(str(answer["stated_incl_vat"]))
    assert stated == (cdr["total_cost"]["excl_vat"], cdr["total_cost"]["incl_vat"])
    return Decimal(str(answer["excl_vat"])), Decimal(str(answer["incl_vat"]))


@pytest.mark.parametrize("tale", SUPPLIES)
def test_an_exported_record_priced_by_its_exported_tariff_gives_its_bill(tell: Tell, tale: Tale) -> None:
    """A bill that was lowered, or ruled on, is priced as it was before that."""
    told = tell(tale)
    cdr, outcome = cdrs(told)[-1], verify_bundle(told.bundle, ROOT.public).outcome
    if outcome.full.basis is ChargeBasis.FLAT:
        assert cdr["charging_periods"][0]["dimensions"] == [{"type": "TIME", "volume": 0}]
        return
    full = outcome.full
    assert priced(cdr) == (amount(full.excl_vat_minor, CNY), amount(full.incl_vat_minor, CNY))
    if outcome.charged.incl_vat_minor == full.incl_vat_minor:
        claimed = amount(told.record.deposit_claimed_minor, CNY)
        assert cdr["total_cost"]["incl_vat"] - claimed == priced(cdr)[1]
        assert cdr["total_cost"]["excl_vat"] - claimed == priced(cdr)[0]


WEEK_TARIFF = (
    b'{"currency":"CNY","elements":['
    b'{"price_components":[{"type":"ENERGY","price":2.50,"vat":13,"step_size":100}],"restrictions":{"max_kwh":2.345}},'
    b'{"price_components":[{"type":"ENERGY","price":"1.10","vat":13,"step_size":1},'
    b'{"type":"TIME","price":0.7,"vat":6,"step_size":60}],"restrictions":{"start_time":"18:00","end_time":"00:00"}},'
    b'{"price_components":[{"type":"ENERGY","price":3,"vat":13,"step_size":1}],"restrictions":{"min_power":7.0}},'
    b'{"price_components":[{"type":"PARKING_TIME","price":4.2,"vat":6,"step_size":300}],"restrictions":{"min_duration":1800}},'
    b'{"price_components":[{"type":"TIME","price":0.7,"vat":6,"step_size":60},{"type":"FLAT","price":1,"step_size":1},'
    b'{"type":"ENERGY","price":"1.95","vat":13,"step_size":1},{"type":"ITEM","item":"wash","price":9}]}],'
    b'"max_price":{"excl_vat":90,"incl_vat":100.5}}'
)
METERED = st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 9_000), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(METERED, st.integers(0, 86_399_999), st.integers(0, 999))
def test_whatever_was_metered_its_periods_price_alike(steps: list[tuple[int, int, bool]], ms: int, us: int) -> None:
    body, start = WEEK_TARIFF, Instant(T0 + ms * 1_000 + us)
    points, elapsed_s, energy_wh = [MeterPoint(0, 0, True)], 0, 0
    for more_s, more_wh, supplying in steps:
        elapsed_s, energy_wh = elapsed_s + more_s, energy_wh + more_wh
        points.append(MeterPoint(elapsed_s, energy_wh, supplying))
    tariff = parse_tariff(body)
    session = metered_session(start, "Asia/Shanghai", points, elapsed_s, energy_wh, 10**9, 10**6, tariff)
    bill = rate(session, tariff)
    written = {
        "start_date_time": time_text(start),
        "end_date_time": time_text(later(start, elapsed_s)),
        "charging_periods": charging_periods(session, "t"),
        "time_zone": "Asia/Shanghai",
    }
    tariff_written = tariff_object(body, PARTY, T0)
    assert tariff_written is not None
    case = {"id": "", "tariff": tariff_written | {"id": "t"}, "session": written}
    answer = price_case(parsed(encoder.encode(case), 2**20))  # type: ignore[arg-type]
    assert answer["incl_vat"] == f"{amount(bill.incl_vat_minor, CNY):.2f}"
    assert answer["excl_vat"] == f"{amount(bill.excl_vat_minor, CNY):.2f}"


# Corrections, and the ledger


DUE = ("provider", "commission", "vat")


def got_in_ledger(cloud: Cloud, *due: str) -> int:
    """What some accounts got for orders, less what went back."""
    moved = cloud.plain(
        "SELECT debit, credit, amount_minor FROM transfers WHERE order_id IS NOT NULL AND flag IN (?, ?)",
        Flag.POSTED,
        Flag.POST_PENDING,
    )
    return sum(n * (credit.startswith(due) - debit.startswith(due)) for debit, credit, n in moved)


def total_minor(found: Sequence[Object], which: str = "incl_vat") -> int:
    return int(sum(Fraction(cdr["total_cost"][which]) for cdr in found) * 100)


@pytest.mark.parametrize("tale", SUPPLIES)
def test_the_exported_total_costs_add_up_to_the_ledger(tell: Tell, tale: Tale) -> None:
    told = tell(tale)
    found = cdrs(told)
    assert total_minor(found) == got_in_ledger(told.story.cloud, *DUE)
    assert total_minor(found) - total_minor(found, "excl_vat") == got_in_ledger(told.story.cloud, "vat")
    assert len({cdr["id"] for cdr in found}) == len(found)
    if tale is not tales.energy_followed_by_another:
        assert total_minor(found) == told.record.incl_vat_minor + told.record.deposit_claimed_minor


@pytest.mark.parametrize("tale", CORRECTED)
def test_a_correction_is_a_credit_of_the_record_before_and_a_new_record(tell: Tell, tale: Tale) -> None:
    found = cdrs(tell(tale))
    records = sum(part.kind is PartKind.CHARGE_RECORD for part in tell(tale).bundle.parts)
    assert [bool(cdr.get("credit")) for cdr in found] == [False, *[True, False] * (records - 1)]
    by_id = {cdr["id"]: cdr for cdr in found}
    for before, credit, new in zip(found[::2], found[1::2], found[2::2], strict=False):
        assert by_id[credit["credit_reference_id"]] == before
        same = {"id", "total_cost", "last_updated", "credit", "credit_reference_id"}
        assert {k: v for k, v in credit.items() if k not in same} == {k: v for k, v in before.items() if k not in same}
        assert credit["total_cost"] == {name: -value for name, value in before["total_cost"].items()}
        assert credit["last_updated"] == new["last_updated"]


def test_a_claim_on_a_deposit_is_a_fixed_cost_without_vat(tell: Tell) -> None:
    before, _, cdr = cdrs(tell(tales.battery_not_returned))
    assert cdr["total_fixed_cost"]["excl_vat"] - before["total_fixed_cost"]["excl_vat"] == Decimal(50)
    assert cdr["total_cost"]["incl_vat"] - before["total_cost"]["incl_vat"] == Decimal(50)
    assert "50.00 CNY of the deposit is claimed" in cdr["remark"]


@pytest.mark.parametrize("tale", SERVICES)
def test_services_are_left_out_and_counted(tell: Tell, tale: Tale) -> None:
    assert {one.code for one in exported(tell(tale)) if isinstance(one, LeftOut)} == {"SERVICE"}
    assert not [one for one in exported(tell(tale)) if isinstance(one, Cdr)]


@pytest.mark.parametrize("tale", SERVICES)
def test_services_are_records_of_time_and_fixed_cost_where_they_are_wanted(tell: Tell, tale: Tale) -> None:
    told = tell(tale)
    found = list(replace(EXPORTER, with_services=True).cdrs(told.story.cloud.readers, Asked()))
    written = [json.loads(encoder.encode(one), parse_float=Decimal, parse_int=Decimal) for one in found]
    assert written
    for cdr in written:
        assert list(broken(cdr, "Cdr")) == []
        assert (cdr["tariffs"], cdr["total_energy"]) == ([], 0)
        assert len(cdr["charging_periods"]) == 1
        assert "tariff_id" not in cdr["charging_periods"][0]
    latest, record = written[-1], told.record
    assert latest["total_cost"]["incl_vat"] == amount(record.incl_vat_minor, CNY)
    assert latest["charging_periods"][0]["dimensions"] == [{"type": "TIME", "volume": latest["total_time"]}]
    costs = [latest.get(name, {}).get("excl_vat", 0) for name in ("total_fixed_cost", "total_time_cost")]
    assert sum(costs) >= latest["total_cost"]["excl_vat"]


def test_a_record_whose_evidence_does_not_hold_is_left_out_by_name(tell: Tell) -> None:
    told = tell(tales.energy_confirmed)
    stranger = Exporter(PARTY, PLATFORM.public, EXPORTER.platform_grant)
    left_out = list(stranger.cdrs(told.story.cloud.readers, Asked()))
    assert left_out == [LeftOut("PLATFORM_GRANT_SIGNATURE", told.story.order)]


def test_a_time_counts_from_its_first_instant_to_before_its_last(tell: Tell) -> None:
    told = tell(tales.energy_disputed_three_times)
    *earlier, credit, new = cdrs(told)
    corrected = told.record.settled_time
    assert cdrs(told, Asked(until=corrected)) == earlier
    assert cdrs(told, Asked(since=corrected)) == [credit, new]
    assert cdrs(told, Asked(since=later(corrected, 1))) == []


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        (Asked(provider_name="sun"), 1),
        (Asked(provider_name="moon"), 0),
        (Asked(kind=Kind.ENERGY), 1),
        (Asked(kind=Kind.BATTERY), 0),
    ],
)
def test_only_what_is_asked_for_is_exported(tell: Tell, asked: Asked, count: int) -> None:
    assert len(cdrs(tell(tales.energy_confirmed), asked)) == count


# Tariffs


@pytest.mark.parametrize("body", [WEEK_TARIFF, tales.FLAT_TARIFF, tales.MIXED_VAT_TARIFF, tales.STEPPED_TARIFF, CALLOUT_TARIFF])
def test_a_tariff_is_written_as_it_is_priced_but_for_items(body: bytes) -> None:
    written = tariff_object(body, PARTY, T0)
    again = json.loads(encoder.encode(written), parse_float=Decimal, parse_int=Decimal)
    assert list(broken(again, "Tariff")) == []
    assert parse_tariff(encoder.encode(written)) == without_items(body)


def without_items(body: bytes) -> Tariff:
    fields = json.loads(body)
    for element in fields["elements"]:
        element["price_components"] = [one for one in element["price_components"] if one["type"] != "ITEM"]
    return parse_tariff(json.dumps(fields))


def test_a_tariff_of_items_only_is_none_of_ocpi_s() -> None:
    assert tariff_object(tariff_bytes(("ITEM", "80", "tyre")), PARTY, T0) is None


def test_what_decides_no_price_is_passed_on() -> None:
    mix = {"is_green_energy": True, "energy_sources": [{"source": "WIND", "percentage": 62.5}]}
    body = tariff_bytes(("ENERGY", "1"), type="REGULAR", energy_mix=mix, last_updated="2026-01-02T03:04:05Z", id="mine")
    written = tariff_object(body, PARTY, T0)
    assert written is not None
    assert (written["type"], written["last_updated"]) == ("REGULAR", "2026-01-02T03:04:05Z")
    assert json.loads(encoder.encode(written))["energy_mix"] == mix
    assert written["id"] != "mine"


# Numbers


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (Fraction(407, 100), 4, "4.07"),
        (Fraction(-407, 100), 4, "-4.07"),
        (Fraction(1, 3), 4, "0.3333"),
        (Fraction(5, 10**5), 4, "0.0001"),
        (0, 4, "0"),
        (100, 4, "100"),
        (Fraction(-1, 100), 2, "-0.01"),
        (10**15, 9, "1000000000000000"),
    ],
)
def test_a_number_is_written_as_it_is(value: Fraction | int, places: int, text: str) -> None:
    assert encoder.encode(decimal(value, places)).decode() == text


@given(st.integers(0, 366 * 86_400))
def test_hours_tell_each_second(seconds: int) -> None:
    assert round(Fraction(hours(seconds)) * 3_600) == seconds


def test_a_currency_without_minor_unit_is_not_divided() -> None:
    assert (amount(407, Currency("JPY")), amount(407, CNY)) == (Decimal(407), Decimal("4.07"))


def test_a_time_is_utc_and_fits_25_characters() -> None:
    assert time_text(T0) == "2026-11-22T10:00:00Z"
    assert time_text(Instant(T0 + 123_999)) == "2026-11-22T10:00:00.123Z"


def test_nothing_credited_is_nothing(tell: Tell) -> None:
    free = next(one for one in exported(tell(tales.energy_given_away)) if isinstance(one, Cdr))
    assert encoder.encode(credit_of(free, T0).total_cost) == b'{"excl_vat":0,"incl_vat":0}'


# The commands


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a supply that was ruled on, a battery's rental and a service."""
    path = tmp_path_factory.mktemp("office") / "cloud"
    CloudHome(path).init(("localhost",), "CNY", T0)
    (path / "platform.key").unlink()
    PLATFORM.save(path / "platform.key")
    write_atomically(path / "root.pub", ROOT.public.hex().encode())
    write_atomically(path / "platform.grant", EXPORTER.platform_grant)
    cloud = Cloud(path / "cloud.db", found_cloud(path / "cloud.db"))
    cloud.numbers = {(cloud.roster[name].id, None): 1 for name in ("sun", "moon")}
    cloud.process(*(Presence(ProviderId(cloud.roster[name].id), True) for name in ("sun", "moon")))
    tales.energy_disputed(Story(cloud))
    tales.battery_returned(Story(cloud, device="sun-battery", order=OrderId(b"\x02" * 16)))
    tales.service_confirmed(Story(cloud, device="sun-worker", order=OrderId(b"\x03" * 16)))
    cloud.close()
    return path


FIRST = OrderId(b"\x01" * 16)
IDENTITY = ("--party", "CN-ESH", "--country", "CHN")


def typed(home: Path, *arguments: str, status: int = 0) -> Any:
    done = CliRunner().invoke(main, ["export", *arguments, "--home", str(home)], prog_name="energyshare-cloud")
    assert done.exit_code == status, done.output
    return done


def test_records_go_to_stdout_and_talk_to_stderr(home: Path) -> None:
    done = typed(home, "cdrs", *IDENTITY)
    assert [cdr.get("credit", False) for cdr in json.loads(done.stdout)] == [False, True, False, False]
    assert done.stderr.splitlines() == [
        "4 charge records written, 1 of them credits.",
        "1 charge record of services left out: OCPI has no place for them.",
    ]


def test_records_go_to_a_file_and_the_counts_to_stdout(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "cdrs.json"
    done = typed(home, "cdrs", *IDENTITY, "--out", str(file), "--json")
    counts = {"written": 4, "credits": 1, "left_out": {"SERVICE": 1}, "unproven": []}
    assert json.loads(done.stdout) == counts
    assert json.loads(file.read_text()) == json.loads(typed(home, "cdrs", *IDENTITY).stdout)


def test_an_export_runs_beside_a_node(home: Path) -> None:
    engine = open_writer(home / "cloud.db")
    with lock_home(home), engine.begin():
        assert len(json.loads(typed(home, "cdrs", *IDENTITY).stdout)) == 4
    engine.dispose()


def test_records_may_be_lines(home: Path) -> None:
    lines = typed(home, "cdrs", *IDENTITY, "--kind", "battery", "--lines").stdout.splitlines()
    assert [json.loads(line)["session_id"] for line in lines] == [id_text(OrderId(b"\x02" * 16))]


@pytest.mark.parametrize(("more", "text"), [((), "[]\n"), (("--lines",), "")])
def test_nothing_is_an_empty_array_or_no_line(home: Path, more: tuple[str, ...], text: str) -> None:
    assert typed(home, "cdrs", *IDENTITY, "--to", "2020-01-01", *more).stdout == text


def test_tariffs_are_those_that_assets_have(home: Path) -> None:
    done = typed(home, "tariffs", *IDENTITY)
    found = json.loads(done.stdout, parse_float=Decimal, parse_int=Decimal)
    assert [problem for tariff in found for problem in broken(tariff, "Tariff")] == []
    assert done.stderr.splitlines()[0] == "3 tariffs written."
    assert len(json.loads(typed(home, "tariffs", *IDENTITY, "--provider", "moon").stdout)) == 1
    used = {tariff["id"] for cdr in json.loads(typed(home, "cdrs", *IDENTITY).stdout) for tariff in cdr["tariffs"]}
    assert used <= {tariff["id"] for tariff in found}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--party", "CNESH", "--country", "CHN"),
        ("--party", "CN-ESH", "--country", "CN"),
        (*IDENTITY, "--domestic", "TYPE_I"),
        (*IDENTITY, "--kind", "service"),
        (*IDENTITY, "--from", "soon"),
        ("--country", "CHN"),
    ],
)
def test_wrong_usage_is_told(home: Path, wrong: tuple[str, ...]) -> None:
    typed(home, "cdrs", *wrong, status=2)


def test_a_file_stays_as_it_was_when_the_export_fails(home: Path, tmp_path: Path) -> None:
    (tmp_path / "cdrs.json").write_text("earlier")
    typed(home, "cdrs", *IDENTITY, "--provider", "nobody", "--out", str(tmp_path / "cdrs.json"), status=1)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("cdrs.json", "earlier")]
    assert "no such file" in typed(home, "cdrs", *IDENTITY, "--out", str(tmp_path / "none" / "x"), status=1).output.lower()


@pytest.mark.parametrize("command", ["cdrs", "tariffs"])
def test_nobody_s_name_is_refused(home: Path, command: str) -> None:
    assert "no one party bears that name" in typed(home, command, *IDENTITY, "--provider", "nobody", status=1).output


def test_a_home_that_never_served_has_nothing_to_export(tmp_path: Path) -> None:
    CloudHome(tmp_path / "new").init(("localhost",), "CNY", T0)
    assert "has no database yet" in typed(tmp_path / "new", "cdrs", *IDENTITY, status=1).output


def test_evidence_that_does_not_hold_ends_the_command_with_1(home: Path, tmp_path: Path) -> None:
    done = typed(copied(home, tmp_path), "cdrs", *IDENTITY, status=1)
    assert json.loads(done.stdout) == []
    assert f"order {id_text(FIRST)} PLATFORM_GRANT_SIGNATURE" in done.stderr


def copied(home: Path, tmp_path: Path) -> Path:
    """The home with another root."""
    shutil.copytree(home, tmp_path / "cloud")
    write_atomically(tmp_path / "cloud" / "root.pub", PLATFORM.public.hex().encode())
    return tmp_path / "cloud"
