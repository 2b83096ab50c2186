"""What in a provider's configuration may surprise: one check after the other, each over all that could be read."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Literal

from msgspec import Struct

from energyshare.bound import price_bound
from energyshare.errors import Corrupt
from energyshare.home import WrongHome
from energyshare.places import distance_m
from energyshare.rating import zone_of
from energyshare.tariff import Tariff
from energyshare.tariff_lint import findings_of
from energyshare.values import Connector, Digest, Dimension, Instant, Kind, Place, later
from terminals.device.settings import load_settings
from terminals.identity import load_identity
from terminals.provider.config import ProviderConfig
from terminals.provider.entries import Entry, Worker
from terminals.provider.hours import closure_at, is_open
from terminals.provider.limits import at_most
from terminals.provider.quoting import VOUCHER_MAX_S, WEEK_S, charged_wh, items_done
from terminals.units import money

SOON_S = 14 * 86_400
QUARTER_S = 900
FAR_M = 500_000
FAR_ZONE_HOURS = 3.5  # the widest zone, China's, is 3 hours off at its western end


class Finding(Struct, frozen=True):
    """Something found in a configuration: at which field, or line of another file, and under which UPPER_SNAKE code."""

    severity: Literal["error", "warning"]
    where: str
    code: str
    text: str


class Subject(Struct, frozen=True):
    """What is looked at; tariffs by their place in the configuration."""

    config: ProviderConfig
    entries: tuple[Entry, ...]
    tariffs: Mapping[str, Tariff]
    tariff_by_hash: Mapping[Digest, Tariff]
    now: Instant


def _warning(where: str, code: str, text: str) -> Finding:
    return Finding("warning", where, code, text)


# Tariffs


def _unused_tariffs(subject: Subject) -> Iterator[Finding]:
    config = subject.config
    used = {asset.tariff for site in config.sites for asset in site.assets} | ({config.fleet.tariff} if config.fleet else set())
    for index, entry in enumerate(config.tariffs):
        if entry.name not in used:
            yield _warning(f"tariffs[{index}]", "TARIFF_UNUSED", f"no asset has the tariff {entry.name!r}")


def _expiring_tariffs(subject: Subject) -> Iterator[Finding]:
    for where, tariff in subject.tariffs.items():
        if not tariff.valid_at(subject.now):
            yield _warning(where, "TARIFF_NOT_VALID", "it is not valid now, so nothing is offered by it")
        elif not tariff.valid_at(later(subject.now, SOON_S)):
            yield _warning(where, "TARIFF_ENDS_SOON", "it ends within 14 days; nothing is offered by it then")


def _zero_prices(subject: Subject) -> Iterator[Finding]:
    for where, tariff in subject.tariffs.items():
        components = (component for element in tariff.elements for component in element.components)
        for component in components:
            if component.price == 0:
                what = f"{component.dimension.name} {component.item}".strip()
                yield _warning(where, "PRICE_ZERO", f"a price of {what} is zero")


def _tangled_tariffs(subject: Subject) -> Iterator[Finding]:
    """Say what a tariff's own check finds, but for what is only worth a note or found here already."""
    for where, tariff in subject.tariffs.items():
        for found in findings_of(tariff):
            if found.severity != "note" and found.code != "ALL_FREE":
                yield _warning(f"{where} {found.where}", found.code, found.text)


def _unfit_tariffs(subject: Subject) -> Iterator[Finding]:
    for entry in _one_of_each_tariff(subject):
        tariff = subject.tariff_by_hash[entry.asset.tariff_hash]
        dimensions = {component.dimension for element in tariff.elements for component in element.components}
        if entry.asset.kind is Kind.SERVICE and not items_done(tariff):
            yield _warning(entry.where, "TARIFF_UNFIT", "its tariff has no ITEM component, so there is nothing that it does")
        elif entry.asset.kind is not Kind.SERVICE and dimensions == {Dimension.ITEM}:
            yield _warning(entry.where, "TARIFF_UNFIT", "its tariff prices services only, so it costs nothing")


def _one_of_each_tariff(subject: Subject) -> list[Entry]:
    """Give the first of the entries that have kind and tariff in common; a fleet has thousands."""
    return list({(e.asset.kind, e.asset.tariff_hash): e for e in reversed(subject.entries)}.values())


# Assets


def _deposits(subject: Subject) -> Iterator[Finding]:
    limits, duration_s = subject.config.limits, subject.config.offers.battery_duration_s
    for entry in subject.entries:
        asset, tariff = entry.asset, subject.tariff_by_hash[entry.asset.tariff_hash]
        if asset.kind is not Kind.BATTERY:
            continue
        caps = at_most(asset.capacity_wh, limits.energy_wh_max), at_most(duration_s, limits.duration_s_max)
        worth = price_bound(tariff, *caps)
        if asset.deposit_minor == 0:
            yield _warning(f"{entry.where}.deposit", "DEPOSIT_MISSING", "nothing secures that this battery comes back")
        elif asset.deposit_minor < worth:
            text = f"it is less than the {money(worth, tariff.currency)} that one rental may cost"
            yield _warning(f"{entry.where}.deposit", "DEPOSIT_LOW", text)


def _unreachable(subject: Subject) -> Iterator[Finding]:
    if subject.config.limits.notice_s + subject.config.offers.voucher_s > VOUCHER_MAX_S:
        text = "with `offers.voucher_s` it is longer than a voucher can wait, so nothing is ever offered"
        yield _warning("limits.notice_s", "NEVER_OFFERED", text)
    for entry in subject.entries:
        if entry.asset.kind is Kind.BATTERY and charged_wh(entry.asset) < 1:
            yield _warning(entry.where, "NEVER_OFFERED", "the battery is empty")
        if entry.asset.kind is Kind.ENERGY and entry.asset.connector is Connector.NONE:
            text = "demands that name a connector do not reach this outlet"
            yield _warning(f"{entry.where}.connector", "CONNECTOR_NONE", text)


def _hours(subject: Subject) -> Iterator[Finding]:
    """Find places that do not open within a week."""
    alike = {(e.rules.hours, e.rules.closures, e.asset.time_zone): e for e in reversed(subject.entries)}
    for (hours, closures, zone), entry in alike.items():
        instants = [later(subject.now, seconds) for seconds in range(0, WEEK_S, QUARTER_S)]
        if not any(is_open(hours, zone, at) and closure_at(closures, zone, at) is None for at in instants):
            yield _warning(_place_of(entry), "CLOSED_ALL_WEEK", "it is not open within the next seven days")


# Addresses and workers


def _addresses(subject: Subject) -> Iterator[Finding]:
    first: dict[str, Entry] = {}
    for entry in subject.entries:
        address = entry.worker.listen if entry.worker else entry.address
        if address is not None and first.setdefault(address, entry) is not entry:
            yield _warning(entry.where, "ADDRESS_TWICE", f"{address} is also that of {first[address].asset.name}")


def _listeners(subject: Subject) -> Iterator[Finding]:
    for s, site in enumerate(subject.config.sites):
        for a, entry in enumerate(site.assets):
            if entry.listen is not None and not entry.remark and _is_public(entry.listen):
                text = "strangers can reach it; say in `remark` that it is meant, or listen on an address of your own network"
                yield _warning(f"sites[{s}].assets[{a}].listen", "LISTEN_PUBLIC", text)


def _is_public(listen: str) -> bool:
    """Say whether an address is open to the world; names are not looked up."""
    try:
        address = ip_address(listen.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return address.is_unspecified or address.is_global


def _workers(subject: Subject) -> Iterator[Finding]:
    for entry in subject.entries:
        if entry.worker is not None:
            yield from _worker(f"{entry.where}.device_home", entry.asset.name, entry.worker)


def _worker(where: str, name: str, worker: Worker) -> Iterator[Finding]:
    try:
        identity, settings = load_identity(worker.home, "device"), load_settings(worker.home)
    except (WrongHome, Corrupt) as error:
        yield Finding("error", where, "DEVICE_HOME", str(error))
        return
    if settings.kind is not Kind.SERVICE:
        yield Finding("error", where, "DEVICE_HOME", f"{worker.home} is not a worker's home")
    if identity.name != name:
        yield Finding("error", where, "DEVICE_HOME", f"{worker.home} is the home of {identity.name}, not of {name}")
    if identity.grant is None:
        yield _warning(where, "DEVICE_NOT_GRANTED", "the operator has not signed this worker's grant yet")


# Places


def _distances(subject: Subject) -> Iterator[Finding]:
    spots = _spots(subject)
    for where, entry in spots.items():
        others = [other.asset.place for other in spots.values() if other is not entry]
        nearest_m = min((distance_m(entry.asset.place, other) for other in others), default=0)
        if nearest_m > FAR_M:
            text = f"it is {nearest_m // 1_000} km from all others"
            swapped = _is_near(_swapped(entry.asset.place), others)
            yield _warning(where, "FAR_AWAY", f"{text}; are latitude and longitude swapped?" if swapped else text)


def _swapped(place: Place) -> Place | None:
    try:
        return Place(place.longitude_e7, place.latitude_e7)
    except ValueError:
        return None


def _is_near(place: Place | None, others: list[Place]) -> bool:
    return place is not None and any(distance_m(place, other) <= FAR_M for other in others)


def _time_zones(subject: Subject) -> Iterator[Finding]:
    for where, entry in _spots(subject).items():
        by_sun = entry.asset.place.longitude_e7 / 1e7 / 15
        offset = datetime.fromtimestamp(subject.now // 1_000_000, zone_of(entry.asset.time_zone)).utcoffset()
        assert offset is not None
        apart = abs((offset.total_seconds() / 3_600 - by_sun + 12) % 24 - 12)
        if apart > FAR_ZONE_HOURS:
            text = f"{entry.asset.time_zone} is {apart:.0f} hours from the sun at that longitude"
            yield _warning(f"{where}.time_zone", "TIME_ZONE_FAR", text)


def _spots(subject: Subject) -> dict[str, Entry]:
    """Give one entry of each site, and one of the fleet."""
    return {_place_of(entry): entry for entry in reversed(subject.entries)}


def _place_of(entry: Entry) -> str:
    """Give where in the configuration an entry's place is said."""
    return re.split(r"[. ]", entry.where, maxsplit=1)[0]


CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    _unused_tariffs,
    _expiring_tariffs,
    _zero_prices,
    _tangled_tariffs,
    _unfit_tariffs,
    _deposits,
    _unreachable,
    _hours,
    _addresses,
    _listeners,
    _workers,
    _distances,
    _time_zones,
)
