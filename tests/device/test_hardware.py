"""The simulated equipment: exact energy, limits to the watt-hour, a register that never falls."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energyshare.values import EnergyWh, Epoch, Kind, Percent, PowerW
from terminals.device.clock import MonotonicUs
from terminals.device.hardware import Flow, Hardware, MeterFile, flow_on, new_totals, simulated
from terminals.device.memory import Meter
from terminals.device.settings import WORKER, Settings

OUTLET = Settings(Kind.ENERGY, Epoch(1), PowerW(7_400), EnergyWh(0), Percent(0))
BATTERY = Settings(Kind.BATTERY, Epoch(1), PowerW(500), EnergyWh(1_000), Percent(50))


class Ticks:
    """A monotonic count that is told."""

    def __init__(self) -> None:
        self.us = 0

    def __call__(self) -> MonotonicUs:
        return MonotonicUs(self.us)

    def pass_s(self, seconds: int) -> None:
        self.us += seconds * 1_000_000


def build(home: Path, kind: Settings) -> tuple[Hardware, Ticks]:
    MeterFile.create(home / "meter.json", new_totals(kind))
    ticks = Ticks()
    return simulated(kind, home / "meter.json", ticks), ticks


@pytest.mark.parametrize("kind", [OUTLET, BATTERY])
def test_any_hardware_counts_only_while_it_is_open(tmp_path: Path, kind: Settings) -> None:
    hardware, ticks = build(tmp_path, kind)
    ticks.pass_s(3_600)
    assert (hardware.meter().register_wh, hardware.meter().power_w) == (0, 0)
    hardware.open(EnergyWh(10_000))
    ticks.pass_s(360)
    assert hardware.meter().register_wh == kind.power_w // 10
    hardware.close()
    ticks.pass_s(360)
    assert (hardware.meter().register_wh, hardware.meter().power_w) == (kind.power_w // 10, 0)


@pytest.mark.parametrize("kind", [OUTLET, BATTERY])
def test_any_hardware_stops_at_its_limit(tmp_path: Path, kind: Settings) -> None:
    hardware, ticks = build(tmp_path, kind)
    hardware.open(EnergyWh(3))
    ticks.pass_s(3_600)
    assert (hardware.meter().register_wh, hardware.meter().power_w) == (3, 0)


def test_a_worker_opens_and_meters_nothing(tmp_path: Path) -> None:
    ticks = Ticks()
    hardware = simulated(WORKER, tmp_path / "meter.json", ticks)
    hardware.open(EnergyWh(3))
    ticks.pass_s(3_600)
    assert hardware.meter() == Meter(EnergyWh(0), PowerW(0))
    hardware.close()
    assert list(tmp_path.iterdir()) == []


def test_a_battery_gives_what_it_holds(tmp_path: Path) -> None:
    lock, ticks = build(tmp_path, BATTERY)
    assert lock.meter().soc_pct == 50
    lock.open(EnergyWh(900))
    ticks.pass_s(1_800)
    assert lock.meter().soc_pct == 25
    ticks.pass_s(7_200)
    assert (lock.meter().register_wh, lock.meter().soc_pct, lock.meter().power_w) == (500, 0, 0)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["open", "close", "cut"]), st.integers(0, 2_000)), max_size=8))
def test_the_register_never_falls_over_power_cuts(tmp_path: Path, events: list[tuple[str, int]]) -> None:
    hardware, ticks = build(tmp_path, OUTLET)
    shown = 0
    for event, seconds in events:
        if event == "cut":
            hardware = simulated(OUTLET, tmp_path / "meter.json", ticks)
        elif event == "open":
            hardware.open(EnergyWh(5_000))
        else:
            hardware.close()
        ticks.pass_s(seconds)
        register = hardware.meter().register_wh
        assert register >= shown
        shown = register


@given(st.integers(1, 10**7), st.lists(st.integers(0, 10**9), max_size=20))
def test_energy_does_not_depend_on_how_often_it_is_read(power: int, steps: list[int]) -> None:
    flow = once = Flow(0, 10**30, PowerW(power), MonotonicUs(0))
    now = 0
    for step in steps:
        now += step
        flow = flow_on(flow, MonotonicUs(now))
    assert flow == flow_on(once, MonotonicUs(now))
