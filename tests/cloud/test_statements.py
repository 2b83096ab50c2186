"""Statements, what can be paid out, and commissions: sums that check out, and rates that stay with their bills."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from cloud import acts
from cloud.acts import Act
from cloud.cli import main
from cloud.config import CloudHome
from cloud.domain import ledger
from cloud.domain.inbound import RulingMade
from cloud.domain.ledger import Earned, Flag, Transfer, TransferId
from cloud.gateway.desk import Cloud as Constant
from cloud.operator_client import Direct
from cloud.store import people, statements
from cloud.store import tables as t
from cloud.store.backup import back_up
from cloud.store.statements import Statement, payable_minor, statement
from energyshare.errors import Reason, Rejected
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import AccountId, Instant, Kind, Minor, OrderId, ProviderId, later
from tests.cloud.actors import CNY, FUNDS, ROOT, T0, Cloud
from tests.cloud.conftest import OpenCloud
from tests.cloud.story import Story

DAY_S = 86_400
ALWAYS = (Instant(0), later(T0, 400 * DAY_S))
OLGA = Act("olga", "commission set", "ENERGY sun")
PRICE = (360, 407, 18)
"""An hour and 2.5 kWh at the outlet: without VAT, with it, and the commission at 5 %."""


def party(cloud: Cloud, name: str) -> AccountId:
    return AccountId(cloud.roster[name].owner)


def stated(cloud: Cloud, name: str, start: Instant = ALWAYS[0], end: Instant = ALWAYS[1]) -> Statement:
    return statement(cloud.readers, cloud.roster[name].role, party(cloud, name), start, end)


def payable(cloud: Cloud) -> int:
    return payable_minor(cloud.readers.rows, ProviderId(party(cloud, "sun")), cloud.now, cloud.settings)


def set_commission(cloud: Cloud, kind: Kind, commission_bp: int | None) -> Any:
    sun = party(cloud, "sun")
    return cloud.run(
        lambda work, now: acts.set_commission(work, now, provider=sun, kind=kind, commission_bp=commission_bp, act=OLGA)
    )


def commission_of(cloud: Cloud) -> int:
    return stated(cloud, "sun").commission_minor


# Statements


def test_a_user_s_statement_names_every_movement_with_its_order_and_record(cloud: Cloud) -> None:
    story = Story(cloud).until_settled()
    found = stated(cloud, "ann")
    top_up, charge = found.rows
    assert (top_up.reason, top_up.amount_minor, top_up.order_id, top_up.record) == ("TOP_UP", FUNDS, None, None)
    assert (charge.reason, charge.amount_minor, charge.order_id) == ("CHARGE", -PRICE[1], story.order)
    assert charge.record == cloud.plain("SELECT digest FROM charge_records")[0][0]
    assert found.closing_minor == FUNDS - PRICE[1]
    assert found.totals == {"TOP_UP": FUNDS, "CHARGE": -PRICE[1]}
    assert (found.vat_minor, found.commission_minor) == (PRICE[1] - PRICE[0], PRICE[2])


def test_a_provider_s_statement_links_what_went_back_to_the_record_that_it_corrects(cloud: Cloud) -> None:
    story = Story(cloud).until_disputed(107)
    cloud.now = later(cloud.now, 60)
    cloud.instruct(story.order, RulingMade(Minor(0), "the meter stood still"))
    earning, back = stated(cloud, "sun").rows
    assert (earning.reason, back.reason, back.order_id) == ("EARNING", "EARNING_BACK", story.order)
    assert (earning.corrects, back.corrects) == (None, earning.record)
    refund = stated(cloud, "ann").rows[-1]
    assert (refund.reason, refund.amount_minor, refund.record) == ("REFUND", 107, back.record)


def test_what_an_unsecured_bill_left_owed_is_stated(cloud: Cloud) -> None:
    story = Story(cloud).until_late()
    cloud.now = later(cloud.now, 3_600)
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    found = stated(cloud, "ann")
    owed = people.balance_of_account(cloud.readers, ledger.receivable_account(party(cloud, "ann"))).owed_minor
    assert found.owed_minor == owed
    assert found.closing_minor == FUNDS - (PRICE[1] - owed)


def busy_cloud(cloud: Cloud) -> list[Instant]:
    """Orders of several days, one disputed and ruled; gives instants around them."""
    cuts = [Instant(0)]
    for number, device in enumerate(("sun-outlet", "sun-battery", "moon-outlet"), start=1):
        cuts += [cloud.now, later(cloud.now, 1)]
        order = OrderId(bytes([number]) * 16)
        story = Story(cloud, device=device, order=order).until_disputed(50)
        cuts.append(cloud.now)
        cloud.now = later(cloud.now, 7_200)
        cloud.instruct(order, RulingMade(Minor(number * 10), "so"))
        assert story.state
        cloud.now = later(cloud.now, 1_800)
    return [*cuts, cloud.now, ALWAYS[1]]


def test_the_periods_of_a_statement_fit_together_and_end_at_the_balance(cloud: Cloud) -> None:
    cuts = busy_cloud(cloud)
    for name in ("ann", "ben", "sun", "moon", "rain"):
        role, account = cloud.roster[name].role, party(cloud, name)
        whose = ledger.provider_account(ProviderId(account)) if role == "provider" else ledger.user_account(account)
        balance = people.balance_of_account(cloud.readers, whose)
        whole = stated(cloud, name)
        parts = [stated(cloud, name, a, b) for a, b in pairwise(cuts) if a < b]
        assert whole.opening_minor == 0
        assert whole.closing_minor == balance.available_minor + balance.held_minor
        for found in (whole, *parts):
            assert found.opening_minor + sum(row.amount_minor for row in found.rows) == found.closing_minor
            assert sum(found.totals.values()) == found.closing_minor - found.opening_minor
        for before, after in pairwise(parts):
            assert before.closing_minor == after.opening_minor
        assert sum((part.rows for part in parts), ()) == whole.rows
        for sums in ("vat_minor", "commission_minor"):
            assert sum(getattr(part, sums) for part in parts) == getattr(whole, sums)


def test_all_commission_and_vat_is_in_some_provider_s_statement(cloud: Cloud) -> None:
    busy_cloud(cloud)
    providers = [stated(cloud, name) for name in ("sun", "moon", "rain")]
    for account, sums in (("commission", "commission_minor"), ("vat", "vat_minor")):
        statement = "SELECT sum(CASE WHEN credit = ?1 THEN amount_minor ELSE -amount_minor END) FROM transfers"
        kept = cloud.plain(f"{statement} WHERE debit = ?1 OR credit = ?1", account)[0][0]
        assert sum(getattr(found, sums) for found in providers) == kept > 0


# What can be paid out


def test_an_earning_can_be_paid_out_72_hours_after_its_settlement(cloud: Cloud) -> None:
    Story(cloud).until_settled()
    assert payable(cloud) == 0
    cloud.now = later(cloud.now, 72 * 3_600 - 1)
    assert payable(cloud) == 0
    cloud.now = later(cloud.now, 1)
    assert payable(cloud) == PRICE[0] - PRICE[2]


def test_what_is_disputed_can_not_be_paid_out_and_what_went_back_never(cloud: Cloud) -> None:
    story = Story(cloud).until_disputed(107)
    cloud.now = later(cloud.now, 100 * 3_600)
    held = cloud.plain("SELECT hold_minor FROM orders")[0][0]
    assert payable(cloud) == PRICE[0] - PRICE[2] - held > 0
    cloud.instruct(story.order, RulingMade(Minor(0), "so"))
    assert payable(cloud) == stated(cloud, "sun").closing_minor


def test_what_was_paid_out_is_not_paid_again(cloud: Cloud) -> None:
    Story(cloud).until_settled()
    cloud.now = later(cloud.now, 80 * 3_600)
    sun = ledger.provider_account(ProviderId(party(cloud, "sun")))
    paid = Transfer(TransferId("payout/1"), None, cloud.now, sun, ledger.FUNDING, Minor(300), Flag.POSTED, "PAYOUT")
    cloud.run(lambda work, now: work.add_transfers([paid]))
    assert payable(cloud) == PRICE[0] - PRICE[2] - 300


EARNED = st.builds(Earned, st.integers(0, 1_000), st.integers(-1_000, 1_000), st.integers(0, 1_000))


@given(orders=st.lists(EARNED, max_size=5), elsewhere=st.integers(-5_000, 0))
def test_never_more_is_payable_than_has_matured_and_is_there(orders: list[Earned], elsewhere: int) -> None:
    due = ledger.payable(orders, elsewhere)
    assert 0 <= due <= max(0, sum(order.matured_minor for order in orders) + elsewhere)
    assert due <= max(0, sum(order.net_minor - order.held_minor for order in orders) + elsewhere)


# Commissions


def test_a_provider_s_commission_for_a_kind_goes_before_the_cloud_s(cloud: Cloud) -> None:
    assert set_commission(cloud, Kind.ENERGY, 1_000) == (True, 1_000)
    assert set_commission(cloud, Kind.ENERGY, 1_000) == (False, 1_000)
    Story(cloud).until_settled()
    assert commission_of(cloud) == 36
    assert cloud.audit().fault == ""
    Story(cloud, user="ben", device="sun-battery", order=OrderId(b"\x02" * 16)).until_settled()
    assert commission_of(cloud) == 36 + 15
    assert set_commission(cloud, Kind.ENERGY, None) == (True, 500)
    Story(cloud, user="ben", order=OrderId(b"\x03" * 16)).until_settled()
    assert commission_of(cloud) == 36 + 15 + PRICE[2]


def test_a_commission_lasts_over_a_restart(open_cloud: OpenCloud) -> None:
    cloud = open_cloud()
    set_commission(cloud, Kind.ENERGY, 0)
    mark = cloud.mark()
    cloud.back_to(mark)
    Story(cloud).until_settled()
    assert commission_of(cloud) == 0


@pytest.mark.parametrize("then", [0, 200, 10_000])
def test_a_correction_divides_at_the_rate_of_the_bill_that_it_corrects(cloud: Cloud, then: int) -> None:
    set_commission(cloud, Kind.ENERGY, 1_000)
    story = Story(cloud).until_disputed(407)
    set_commission(cloud, Kind.ENERGY, then)
    cloud.instruct(story.order, RulingMade(Minor(113), "so"))
    assert (commission_of(cloud), stated(cloud, "sun").closing_minor) == (10, 90)
    assert cloud.audit().fault == ""


def test_what_waits_with_its_deposit_is_paid_out_once_nobody_can_dispute_it(cloud: Cloud) -> None:
    story = Story(cloud, device="sun-battery").until_active()
    cloud.pass_s(7_200 + 3_600)
    assert story.wait == "NOT_RETURNED"
    cloud.pass_s(4 * 86_400)
    assert payable(cloud) == 0
    cloud.pass_s(4 * 86_400)  # the deposit goes back, and the bill can be disputed from now on
    assert payable(cloud) == 0
    cloud.pass_s(3 * 86_400)
    assert payable(cloud) == 475


def test_a_statement_that_would_hold_too_much_is_refused(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    Story(cloud).until_settled()
    monkeypatch.setattr(statements, "ROWS_MAX", 0)
    with pytest.raises(Rejected) as refusal:
        stated(cloud, "sun")
    assert refusal.value.reason is Reason.PERIOD_TOO_LONG


# As typed


@pytest.fixture
def type_in(cloud: Cloud, tmp_path: Path) -> Callable[..., str]:
    """Type a command on a home with a settled order, where no node runs."""
    Story(cloud).until_settled()
    home = tmp_path / "home"
    CloudHome(home).init(("localhost",), "CNY", T0)
    back_up(cloud.path, home / "cloud.db")

    def typed(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(main, [*arguments, "--home", str(home)], prog_name="energyshare-cloud")
        assert done.exit_code == status, done.output
        return done.output

    return typed


PERIOD = ("--from", "2026-11-01", "--to", "2026-12-01")


def test_a_statement_is_a_page_or_json_or_csv(type_in: Callable[..., str]) -> None:
    page = type_in("statement", "sun", "--role", "provider", *PERIOD)
    for words in ("opening balance 0.00 CNY", "EARNING", "closing balance 3.42 CNY", "VAT 0.47 CNY, commission 0.18 CNY"):
        assert words in page
    assert json.loads(type_in("statement", "sun", "--role", "provider", *PERIOD, "--json"))["closing_minor"] == "342"
    header, line = type_in("statement", "sun", "--role", "provider", *PERIOD, "--csv").splitlines()
    row = dict(zip(header.split(","), line.split(","), strict=True))
    assert (row["reason"], row["amount_minor"], row["balance_minor"], row["corrects"]) == ("EARNING", "342", "342", "")
    assert len(row["charge_record"]) == 64


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        (("statement", "ann", "--role", "user", "--from", "soon", "--to", "2026-12-01"), 2, "'soon' is no date"),
        (("statement", "ann", "--role", "user", "--from", "2026-12-01", "--to", "2026-11-01"), 1, "ends before it has begun"),
        (("statement", "nobody", "--role", "user", *PERIOD), 1, "no one party bears that name"),
        (("statement", "ann", "--role", "user", *PERIOD, "--csv", "--json"), 2, "choose one"),
        (("statement", "ann", "--role", "user", *PERIOD), 0, "closing balance 995.93 CNY"),
        (("statement", "ann", "--role", "user", "--from", "2026-11-01"), 0, "closing balance 995.93 CNY"),
        (("commission", "set", "sun", "--kind", "energy", "--bp", "10001"), 2, "10001"),
        (("commission", "set", "sun", "--kind", "energy", "--bp", "325"), 0, "of sun for energy is 3.25 %."),
        (("commission", "set", "sun", "--kind", "energy"), 0, "is 5.00 %, as before."),
        (("commission", "list"), 0, "all others pay 5.00 %"),
        (("ledger", "check"), 0, "no row was altered, added or removed"),
    ],
)
def test_a_command_says_what_is_so_or_what_is_wrong(
    type_in: Callable[..., str], command: tuple[str, ...], status: int, words: str
) -> None:
    assert words in type_in(*command, status=status)


def test_a_checkpoint_is_written_and_finds_what_was_touched_later(type_in: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "one.checkpoint"
    assert f"{file} covers 7 rows and 1 charge record." in type_in("ledger", "checkpoint", "--out", str(file))
    assert json.loads(type_in("ledger", "checkpoint", "--json"))["transfers"] == 7
    assert "The ledger holds" in type_in("ledger", "check", "--checkpoint", str(file))
    with closing(sqlite3.connect(tmp_path / "home" / "cloud.db")) as connection, connection:
        connection.execute("UPDATE transfers SET amount_minor = 9 WHERE row = 5")
    said = type_in("ledger", "check", "--checkpoint", str(file), status=1)
    assert "row 5 (" in said
    assert "it was altered" in said
    assert "does not parse" in type_in("ledger", "check", "--checkpoint", __file__, status=1)
    assert "can't be written" in type_in("ledger", "checkpoint", "--out", str(tmp_path / "no" / "where"), status=1)


# The operator's calls

Ask = Callable[..., Any]


@pytest.fixture
def ask(cloud: Cloud) -> Ask:
    direct = Direct(cloud.readers, Constant(cloud.path, CNY, ROOT.public, b"secret"), cloud.process)
    return lambda method, **fields: asyncio.run(direct.ask(method, getattr(pb, f"{method}Request")(**fields)))


def test_an_operator_sets_and_lists_commissions_and_it_is_recorded(ask: Ask, cloud: Cloud) -> None:
    assert not ask("ListCommissions").commissions
    done = ask("SetCommission", provider_name="sun", kind="ENERGY", commission_bp=300, reason="a contract")
    assert (done.changed, done.commission_bp) == (True, 300)
    listed = ask("ListCommissions")
    assert [(c.provider_name, c.kind, c.commission_bp) for c in listed.commissions] == [("sun", "ENERGY", 300)]
    assert listed.default_bp == 500
    ask("SetCommission", provider_name="sun", kind="ENERGY")
    assert not ask("ListCommissions").commissions
    notes = [(act.act, act.subject, act.note) for act in ask("ListActs").acts]
    assert notes == [
        ("commission set", "ENERGY sun", "as the cloud's"),
        ("commission set", "ENERGY sun", "300 bp: a contract"),
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"provider_name": "nobody", "kind": "ENERGY", "commission_bp": 1}, Reason.PARTY_UNKNOWN),
        ({"provider_name": "ann", "kind": "ENERGY", "commission_bp": 1}, Reason.PARTY_UNKNOWN),
        ({"provider_name": "sun", "kind": "WATER", "commission_bp": 1}, Reason.MALFORMED),
        ({"provider_name": "sun", "kind": "ENERGY", "commission_bp": 10_001}, Reason.MALFORMED),
        ({"provider_name": "sun", "kind": "ENERGY", "commission_bp": -1}, Reason.MALFORMED),
        ({"provider_name": "sun", "kind": "ENERGY", "reason": "a\nb"}, Reason.MALFORMED),
    ],
)
def test_a_commission_that_can_not_be_is_refused(ask: Ask, fields: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Rejected) as refusal:
        ask("SetCommission", **fields)
    assert refusal.value.reason is reason
    assert not ask("ListCommissions").commissions


def test_a_statement_is_given_with_what_can_be_paid_out(ask: Ask, cloud: Cloud) -> None:
    Story(cloud).until_settled()
    cloud.now = later(cloud.now, 72 * 3_600)
    period = {"from_time": {"seconds": 1}, "to_time": {"seconds": cloud.now // 1_000_000 + 1}}
    found = ask("GetPartyStatement", role="provider", name="sun", **period).statement
    assert [(row.reason, row.amount_minor, row.balance_minor) for row in found.rows] == [("EARNING", 342, 342)]
    assert (found.closing_minor, found.payable_minor, found.vat_minor, found.commission_minor) == (342, 342, 47, 18)
    for bad in ({"to_time": {"seconds": 1}}, {"name": "ann"}, {"role": "user"}):
        with pytest.raises(Rejected):
            ask("GetPartyStatement", **({"role": "provider", "name": "sun"} | period | bad))


def test_the_checkpoints_of_the_operator_are_checked_before_they_are_compared(ask: Ask, cloud: Cloud) -> None:
    with pytest.raises(Rejected):
        ask("CheckLedger", checkpoints=[b"\x0a\x01x"])
    assert ask("CheckLedger").batches > 0
    cloud.run(lambda work, now: work.unit.execute(insert(t.transfers).values(**stray())))
    assert "no batch holds it" in ask("CheckLedger").fault


def stray() -> dict[str, Any]:
    """A row that was written past the chain."""
    names = {"id": "top-up/a/b", "debit": "funding", "credit": "user:a", "flag": "POSTED", "reason": "TOP_UP"}
    return names | {"order_id": None, "at": T0, "amount_minor": 5, "hold_id": None, "hold_minor": 0}
