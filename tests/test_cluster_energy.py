"""An energy order by the programs that people type, from the demand to a proved bill."""

from collections.abc import Iterator
from typing import Any

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
    left = 50_000 - ended["total_minor"]
    assert [entry["amount_minor"] for entry in wallet.pop("entries")] == [-ended["total_minor"], 50_000]
    assert wallet == {"available_minor": left, "held_minor": 0, "owed_minor": 0, "currency": "CNY"}
    _require_stated(shop, ended)
    until("all acknowledgements", lambda: cluster.operator("status")["waiting_envelopes"] == "0")


def _require_stated(shop: Depot, ended: dict[str, Any]) -> None:
    """Both sides read what the order moved, under the same charge record, and the provider what it can be paid."""
    period = ("--from", "2026-01-01", "--to", "2100-01-01")
    paid = shop.cluster.user("alice", "wallet", "statement", *period)["rows"][-1]
    earned = shop.types("wallet", "statement", *period)
    assert (paid["reason"], paid["amount_minor"], paid["order_id"]) == ("CHARGE", str(-ended["total_minor"]), ended["id"])
    assert [row["charge_record_hash"] for row in earned["rows"]] == [paid["charge_record_hash"]]
    has = shop.types("wallet", "show")
    assert (has["available_minor"], has["payable_minor"]) == (int(earned["closing_minor"]), 0)
    shares = (earned["closing_minor"], earned["vat_minor"], earned["commission_minor"])
    assert sum(map(int, shares)) == ended["total_minor"]


def _is_cut_off(shop: Depot) -> bool:
    """Say whether the outlet has stopped supplying by itself, at its cap."""
    [session] = shop.evidence("outlet-1")
    last = peek(ReadingBody, session.readings[-1])
    return not last.supplying and last.register_wh == ENERGY_WH
