"""Screening: who is asked, who is left out and why, and that no asset within the radius is missed."""

from collections.abc import Sequence
from functools import partial
from math import asin, atan2, cos, degrees, radians, sin
from typing import Any

import h3.api.basic_int as h3  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.domain.screening import EXAMINED_MAX, NEAREST_MAX, AssetRecord, Screening, needs_more, screen
from cloud.store import tables
from cloud.store.asset_rows import asset_row
from cloud.store.cells import cells_of, disk
from cloud.work import WorkingSet
from energyshare.bodies import ServiceItem
from energyshare.messages import Demand, Screened
from energyshare.places import EARTH_RADIUS_M, distance_m
from energyshare.records import replace
from energyshare.values import (
    AssetId,
    AssetState,
    Connector,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Instant,
    Kind,
    Metres,
    Minor,
    OrderId,
    Place,
    PowerW,
    ProviderId,
)
from tests.cloud.actors import (
    BATTERY_TARIFF,
    CALLOUT_TARIFF,
    OUTLET_TARIFF,
    SQUARE,
    T0,
    TARIFF_HASHES,
    TARIFFS,
    Cloud,
    asset_of,
)
from tests.cloud.story import Story

PROVIDERS = [ProviderId(bytes([n]) * 16) for n in range(1, 4)]
DEMAND = Demand(
    kinds=(Kind.ENERGY,),
    place=SQUARE,
    radius_m=Metres(1_000),
    energy_wh=EnergyWh(5_000),
    duration_s=DurationS(3_600),
    service_items=(),
    needed_by_time=T0,
    price_max_minor=Minor(2_000),
    time_to_live_s=DurationS(60),
    connector=Connector.GBT_AC,
)
OUTLET = AssetRecord(
    asset_id=AssetId(b"a" * 16),
    provider_id=PROVIDERS[0],
    device_id=DeviceId(b"d" * 16),
    station="S",
    name="N",
    kind=Kind.ENERGY,
    place=SQUARE,
    connector=Connector.GBT_AC,
    power_w=PowerW(7_000),
    capacity_wh=EnergyWh(0),
    soc_pct=None,
    state=AssetState.AVAILABLE,
    version=1,
    tariff_hash=TARIFF_HASHES[OUTLET_TARIFF],
    deposit_minor=Minor(0),
    held_by=None,
)
BATTERY = replace(
    OUTLET, kind=Kind.BATTERY, connector=Connector.NONE, capacity_wh=EnergyWh(6_000), tariff_hash=TARIFF_HASHES[BATTERY_TARIFF]
)
WORKER = replace(OUTLET, kind=Kind.SERVICE, connector=Connector.NONE, tariff_hash=TARIFF_HASHES[CALLOUT_TARIFF])
FOR_BATTERIES = replace(DEMAND, kinds=(Kind.BATTERY,))
FOR_WORKERS = replace(
    DEMAND, kinds=(Kind.SERVICE,), energy_wh=None, service_items=(ServiceItem("jump-start", 1),), price_max_minor=None
)


def screened(demand: Demand, *assets: AssetRecord, stations: int = 8) -> Screening:
    return screen(demand, assets, TARIFFS, {*PROVIDERS}, stations)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": Kind.BATTERY}, "KIND"),
        ({"place": Place(SQUARE.latitude_e7 + 91_000, SQUARE.longitude_e7)}, "DISTANCE"),
        ({"state": AssetState.OUT_OF_SERVICE}, "OUT_OF_SERVICE"),
        ({"held_by": OrderId(b"o" * 16)}, "HELD"),
        ({"unknown": True}, "UNKNOWN"),
        ({"is_suspended": True}, "SUSPENDED"),
        ({"provider_id": ProviderId(b"x" * 16)}, "OFFLINE"),
        ({"connector": Connector.GBT_DC}, "CONNECTOR"),
        ({"tariff_hash": Digest(b"t" * 32)}, "TARIFF"),
    ],
)
def test_an_outlet_is_left_out_for_one_reason(changes: dict[str, Any], reason: str) -> None:
    found = screened(DEMAND, replace(OUTLET, **changes))
    assert (found.candidates, [(e.reason, e.count) for e in found.exclusions]) == ((), [(reason, 1)])
    assert [one.reason for one in found.nearest] == [reason]


def test_an_outlet_that_fits_is_asked_with_the_most_it_can_cost() -> None:
    found = screened(DEMAND, OUTLET)
    assert [(c.asset, c.distance_m, c.bound_minor) for c in found.candidates] == [(OUTLET, 0, 746)]
    assert screened(replace(DEMAND, price_max_minor=Minor(745)), OUTLET).exclusions[0].reason == "PRICE"
    assert screened(replace(DEMAND, price_max_minor=Minor(746)), OUTLET).exclusions == ()


@pytest.mark.parametrize(("soc", "fits"), [(None, True), (100, True), (84, True), (83, False), (0, False)])
def test_a_battery_must_hold_what_is_asked(soc: int | None, fits: bool) -> None:
    found = screened(FOR_BATTERIES, replace(BATTERY, soc_pct=soc))
    assert [e.reason for e in found.exclusions] == ([] if fits else ["CAPACITY"])


def test_batteries_need_no_connector_and_demands_may_leave_things_open() -> None:
    assert screened(FOR_BATTERIES, BATTERY).candidates
    open_demand = replace(DEMAND, energy_wh=None, duration_s=None, connector=None, price_max_minor=None)
    assert screened(replace(open_demand, kinds=(Kind.BATTERY, Kind.ENERGY)), BATTERY, OUTLET).exclusions == ()


def test_of_a_station_the_best_asset_is_asked_and_of_stations_the_best() -> None:
    near = [replace(OUTLET, name=f"n{n}", asset_id=AssetId(bytes([n]) * 16)) for n in range(3)]
    away = Place(SQUARE.latitude_e7 + 5_000, SQUARE.longitude_e7)
    far = [replace(OUTLET, station=f"F{n}", asset_id=AssetId(bytes([9, n]) * 8), place=away) for n in range(3)]
    found = screened(DEMAND, *far, *near, stations=2)
    assert [c.asset.station for c in found.candidates] == ["S", "F0"]
    assert {(e.reason, e.count) for e in found.exclusions} == {("SAME_STATION", 2), ("RANK", 2)}


def test_stations_of_two_providers_are_two_though_they_share_a_name() -> None:
    assert len(screened(DEMAND, OUTLET, replace(OUTLET, provider_id=PROVIDERS[1])).candidates) == 2


def test_a_worker_is_asked_for_what_its_tariff_names() -> None:
    assert [c.bound_minor for c in screened(FOR_WORKERS, WORKER).candidates] == [20_140]
    unnamed = replace(FOR_WORKERS, service_items=(ServiceItem("paint", 1),))
    assert [e.reason for e in screened(unnamed, WORKER).exclusions] == ["ITEM"]
    assert [e.reason for e in screened(replace(FOR_WORKERS, price_max_minor=Minor(20_139)), WORKER).exclusions] == ["PRICE"]


def test_workers_of_one_base_do_not_stand_for_one_another() -> None:
    other = replace(WORKER, name="M", asset_id=AssetId(b"m" * 16))
    assert len(screened(FOR_WORKERS, WORKER, other).candidates) == 2


def test_an_outlet_is_not_asked_for_items() -> None:
    both = replace(FOR_WORKERS, kinds=(Kind.SERVICE, Kind.ENERGY), energy_wh=EnergyWh(5_000))
    assert len(screened(both, WORKER, OUTLET).candidates) == 2


def places(metres: int = 3_000) -> st.SearchStrategy[Place]:
    steps = st.integers(-metres * 90, metres * 90)
    return st.builds(lambda north, east: Place(SQUARE.latitude_e7 + north, SQUARE.longitude_e7 + east), steps, steps)


ASSETS = st.builds(
    replace,
    st.sampled_from([OUTLET, BATTERY]),
    asset_id=st.binary(min_size=16, max_size=16).map(AssetId),
    provider_id=st.sampled_from([*PROVIDERS, ProviderId(b"x" * 16)]),
    station=st.sampled_from("ABCDEF"),
    place=places(),
    connector=st.sampled_from([Connector.GBT_AC, Connector.GBT_AC, Connector.GBT_DC]),
    state=st.sampled_from([AssetState.AVAILABLE, AssetState.AVAILABLE, AssetState.OUT_OF_SERVICE]),
    held_by=st.sampled_from([None, None, OrderId(b"o" * 16)]),
    soc_pct=st.one_of(st.none(), st.integers(0, 100)),
    tariff_hash=st.sampled_from([*TARIFFS, Digest(b"t" * 32)]),
)


@settings(max_examples=60, deadline=None)
@given(
    assets=st.lists(ASSETS, max_size=40),
    stations=st.integers(1, 8),
    radius=st.integers(1, 5_000),
    kinds=st.sampled_from([(Kind.ENERGY,), (Kind.BATTERY,), (Kind.ENERGY, Kind.BATTERY)]),
    price=st.one_of(st.none(), st.integers(1, 2_000)),
)
def test_everyone_examined_is_asked_or_counted_once(
    assets: list[AssetRecord], stations: int, radius: int, kinds: tuple[Kind, ...], price: int | None
) -> None:
    limit = None if price is None else Minor(price)
    demand = replace(DEMAND, radius_m=Metres(radius), kinds=kinds, price_max_minor=limit)
    found = screened(demand, *assets, stations=stations)
    asked = [c.asset for c in found.candidates]
    assert found.examined == len(assets) == len(asked) + sum(e.count for e in found.exclusions)
    assert len({(a.provider_id, a.station, a.kind) for a in asked}) == len(asked)
    assert all(sum(a.kind is kind for a in asked) <= stations for kind in kinds)
    assert [c.distance_m for c in found.candidates] == sorted(c.distance_m for c in found.candidates)
    assert all(distance_m(SQUARE, a.place) <= radius and a.kind in kinds and a.held_by is None for a in asked)
    assert price is None or all(c.bound_minor <= price for c in found.candidates)
    assert len(found.nearest) == min(NEAREST_MAX, sum(e.count for e in found.exclusions))


def test_a_thousand_assets_are_screened_and_the_nearest_named() -> None:
    assets = [
        replace(
            OUTLET,
            asset_id=AssetId(n.to_bytes(16, "big")),
            station=f"S{n % 300}",
            name=f"N{n}",
            place=Place(SQUARE.latitude_e7 + n * 100, SQUARE.longitude_e7),
        )
        for n in range(1_000)
    ]
    found = screened(replace(DEMAND, radius_m=Metres(2_000)), *reversed(assets))
    assert [c.asset.name for c in found.candidates] == [f"N{n}" for n in range(8)]
    assert (found.examined, sum(e.count for e in found.exclusions), len(found.nearest)) == (1_000, 992, NEAREST_MAX)
    assert found.nearest[0].name == "N8"


# How far is looked


def add_outlets(cloud: Cloud, count: int, metres: int) -> None:
    """Give a provider outlets so far east of the demand's place, each a station of its own."""
    there = walked(Story(cloud).demand().place, metres, 90)
    asset = replace(asset_of(cloud.roster, "moon-outlet"), place=there)
    for n in range(count):
        own = (metres * 100 + n).to_bytes(16, "big")
        added = replace(asset, asset_id=AssetId(own), device_id=DeviceId(own), station=f"{metres}-{n}")
        row = asset_row(ProviderId(cloud.roster["moon"].id), added)
        cloud.run(partial(add_row, row=row))


def add_row(work: WorkingSet, now: Instant, row: dict[str, Any]) -> None:
    work.changes.insert(tables.assets, row)


def looked(cloud: Cloud, radius: int) -> tuple[int, int]:
    """Demand an outlet; gives how many assets were looked at, and how many are asked."""
    story = Story(cloud)
    story.by_user(replace(story.demand(), kinds=(Kind.ENERGY,), radius_m=Metres(radius)))
    row = cloud.plain("SELECT examined, candidates FROM screenings")[0]
    return row[0], row[1]


def test_nobody_looks_further_than_it_takes_to_find_enough(cloud: Cloud) -> None:
    known = len(cloud.plain("SELECT 1 FROM assets"))
    add_outlets(cloud, 8, 1_000)
    add_outlets(cloud, 3, 60_000)
    assert looked(cloud, 200_000) == (known + 8, 8)


def test_where_too_few_are_near_those_further_away_are_asked(cloud: Cloud) -> None:
    _, near = looked(cloud, 4_000)
    add_outlets(cloud, 2, 9_000)
    add_outlets(cloud, 2, 150_000)
    assert looked_again(cloud, 200_000) == near + 4


def test_nobody_past_the_radius_is_asked(cloud: Cloud) -> None:
    _, near = looked(cloud, 4_000)
    add_outlets(cloud, 2, 9_000)
    add_outlets(cloud, 2, 150_000)
    assert looked_again(cloud, 20_000) == near + 2


def looked_again(cloud: Cloud, radius: int) -> int:
    """Demand once more; gives how many are asked."""
    story = Story(cloud, order=OrderId(b"\x08" * 16))
    story.by_user(replace(story.demand(), kinds=(Kind.ENERGY,), radius_m=Metres(radius)))
    return int(cloud.told("ann", Screened)[-1].candidates)


@pytest.mark.parametrize(("examined", "wanted"), [(EXAMINED_MAX - 1, True), (EXAMINED_MAX, False)])
def test_looking_ends_where_it_would_keep_the_node_from_others(examined: int, wanted: bool) -> None:
    assert needs_more(DEMAND, Screening(examined, (), (), ()), 8) is wanted


# Cells


@settings(max_examples=400, deadline=None)
@given(
    latitude=st.floats(-90, 90),
    longitude=st.one_of(st.floats(-180, 180), st.sampled_from([-180.0, 180.0, 179.9999])),
    radius=st.one_of(st.integers(1, 200_000), st.sampled_from([8_000, 8_001, 56_000, 56_001, 200_000])),
    bearing=st.floats(0, 360),
    share=st.one_of(st.floats(0, 1), st.just(1.0)),
)
def test_the_disk_holds_every_place_within_the_radius(
    latitude: float, longitude: float, radius: int, bearing: float, share: float
) -> None:
    centre = Place.of_degrees(latitude, longitude)
    there = walked(centre, radius * share, bearing)
    if distance_m(centre, there) > radius:
        return
    resolution, cells = disk(centre, Metres(radius))
    assert getattr(cells_of(there), f"cell_{resolution}") in cells
    assert len(cells) <= 400


PENTAGONS: Sequence[tuple[float, float]] = [h3.cell_to_latlng(cell) for cell in h3.get_pentagons(3)]


@pytest.mark.parametrize("corner", PENTAGONS)
@pytest.mark.parametrize("radius", [7_999, 55_999, 200_000])
def test_the_disk_is_whole_where_the_grid_is_most_distorted(corner: tuple[float, float], radius: int) -> None:
    centre = Place.of_degrees(*corner)
    resolution, cells = disk(centre, Metres(radius))
    rim = [walked(centre, radius * 0.9999, bearing) for bearing in range(0, 360, 5)]
    assert {getattr(cells_of(place), f"cell_{resolution}") for place in rim} <= set(cells)


def walked(start: Place, metres: float, bearing: float) -> Place:
    """The place that far away on a great circle."""
    north, east = radians(start.latitude_e7 / 1e7), radians(start.longitude_e7 / 1e7)
    angle, towards = metres / EARTH_RADIUS_M, radians(bearing)
    to_north = asin(max(-1.0, min(1.0, sin(north) * cos(angle) + cos(north) * sin(angle) * cos(towards))))
    to_east = east + atan2(sin(towards) * sin(angle) * cos(north), cos(angle) - sin(north) * sin(to_north))
    return Place.of_degrees(degrees(to_north), (degrees(to_east) + 540) % 360 - 180)
