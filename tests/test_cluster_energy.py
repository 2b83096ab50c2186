"""An energy order by the programs that people type, from the demand to a proved bill."""

from collections.abc import Iterator

import pytest

from energyshare.bodies import ReadingBody
from energyshare.wire import peek
from tests.cluster import until
from tests.depot import Depot, depot

PLACE = ("--at", "22.5431,114.0579")
ENERGY_WH = 500


@pytest.fixture(scope="module")
def shop() -> Iterator[Depot]:
    with depot(outlets=1) as made:
        made.cluster.add_user("alice", "500")
        yield made


def test_an_energy_order_goes_from_its_demand_to_a_proved_bill(shop: Depot) -> None:
    cluster, device = shop.cluster, shop.address("outlet-1")
    shop.wait_until_online()
    demanded = cluster.user("alice", "demand", "energy", *PLACE, "--energy-wh", str(ENERGY_WH))
    assert demanded["state"] == "DEMANDED"
    [offer] = demanded["offers"]
    assert (offer["energy_wh_max"], offer["deposit_minor"]) == (ENERGY_WH, 0)

    assert cluster.user("alice", "select", "1", "1")["state"] == "AUTHORIZED"
    assert cluster.user("alice", "start", "1", "--device", device)["state"] == "ACTIVE"
    until("the cut-off at the cap", lambda: _is_cut_off(shop))

    ended = cluster.user("alice", "end", "1", "--device", device)
    assert (ended["state"], ended["proved"]) == ("SETTLED", True)
    assert ended["total_minor"] <= offer["hold_minor"]
    receipt = cluster.user("alice", "receipt", "1")
    assert (receipt["proved"], receipt["basis"], receipt["energy_wh"]) == (True, "END_RECEIPT", ENERGY_WH)
    assert receipt["incl_vat_minor"] == ended["total_minor"]

    shown = cluster.operator("order", "show", ended["id"])
    assert shown["order"]["state"] == "SETTLED"
    assert [entry["event"] for entry in shown["timeline"]][:4] == ["Demand", "OfferMade", "SelectionMade", "VoucherIssued"]
    assert int(shown["order"]["total_minor"]) == ended["total_minor"]
    checked = cluster.operator("ledger", "check")
    assert (checked["fault"], checked["charge_records"], checked["held_minor"]) == ("", "1", "0")
    wallet = cluster.user("alice", "wallet", "show")
    assert wallet == {"available_minor": 50_000 - ended["total_minor"], "held_minor": 0, "currency": "CNY"}
    until("all acknowledgements", lambda: cluster.operator("status")["waiting_envelopes"] == "0")


def _is_cut_off(shop: Depot) -> bool:
    """Say whether the outlet has stopped supplying by itself, at its cap."""
    [session] = shop.evidence("outlet-1")
    last = peek(ReadingBody, session.readings[-1])
    return not last.supplying and last.register_wh == ENERGY_WH
