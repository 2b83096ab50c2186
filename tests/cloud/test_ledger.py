"""The ledger's laws over random histories, and the audit that finds any one row that was touched."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloud.domain import ledger
from cloud.domain.audit import Audit, audit
from cloud.domain.ledger import Balance, Flag, LedgerAccount, Transfer, TransferId
from energyshare.errors import Reason, Rejected
from energyshare.values import MINOR_MAX, AccountId, Minor, OrderId, OrderState, ProviderId, id_text
from tests.cloud.actors import T0

ACCOUNTS = [AccountId(bytes([n]) * 16) for n in (1, 2)]
PROVIDERS = [ProviderId(bytes([n]) * 16) for n in (8, 9)]
AMOUNTS = st.integers(1, 10_000)


@dataclass
class Books:
    """A ledger in memory: its rows, the balances kept, and how its orders stand."""

    rows: list[Transfer] = field(default_factory=list)
    kept: dict[LedgerAccount, Balance] = field(default_factory=dict)
    held: dict[OrderId, tuple[AccountId, int]] = field(default_factory=dict)
    orders: dict[bytes, OrderState] = field(default_factory=dict)
    charges: dict[tuple[bytes, bytes | None], int] = field(default_factory=dict)

    def add(self, *transfers: Transfer) -> None:
        """Write rows, all or none."""
        kept = dict(self.kept)
        for transfer in transfers:
            kept |= ledger.apply(kept, transfer)
        self.kept = kept
        self.rows += transfers

    def top_up(self, account: AccountId, amount: int) -> None:
        name = TransferId(f"top-up/{id_text(account)}/{len(self.rows)}")
        user = ledger.user_account(account)
        self.add(Transfer(name, None, T0, ledger.FUNDING, user, Minor(amount), Flag.POSTED, "TOP_UP"))

    def hold(self, account: AccountId, amount: int) -> None:
        order = OrderId(len(self.orders).to_bytes(16, "big"))
        self.add(ledger.hold(order, 1, account, Minor(amount), T0))
        self.orders[order], self.held[order] = OrderState.SELECTED, (account, amount)

    def void(self, order: OrderId) -> None:
        account, amount = self.held.pop(order)
        self.add(ledger.void(order, 1, account, Minor(amount), T0))
        self.orders[order] = OrderState.CANCELLED

    def settle(self, order: OrderId, provider: ProviderId, part: int, vat: int, commission_bp: int) -> None:
        account, held = self.held.pop(order)
        incl = min(part, held)
        excl = max(0, incl - vat)
        shares = ledger.divide(Minor(excl), Minor(incl), Minor(0), commission_bp)
        assert shares.total_minor == incl
        self.add(*ledger.settle(order, 1, account, provider, Minor(held), shares, T0))
        self.orders[order], self.charges[order, None] = OrderState.SETTLED, incl

    def audit(self, rows: list[Transfer] | None = None) -> Audit:
        return audit(enumerate(self.rows if rows is None else rows), self.kept, self.orders, self.charges)


class Ledger(RuleBasedStateMachine):
    """Random payments, holds, releases and settlements."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()

    @rule(account=st.sampled_from(ACCOUNTS), amount=AMOUNTS)
    def pay_in(self, account: AccountId, amount: int) -> None:
        self.books.top_up(account, amount)

    @rule(account=st.sampled_from(ACCOUNTS), amount=AMOUNTS)
    def select(self, account: AccountId, amount: int) -> None:
        available = self.books.kept.get(ledger.user_account(account), Balance(ledger.user_account(account))).available_minor
        if amount <= available:
            self.books.hold(account, amount)
            return
        with pytest.raises(Rejected, match="INSUFFICIENT_FUNDS"):
            self.books.hold(account, amount)

    @precondition(lambda self: self.books.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.books.void(data.draw(st.sampled_from(sorted(self.books.held))))

    @precondition(lambda self: self.books.held)
    @rule(data=st.data(), part=st.integers(0, 10_000), vat=st.integers(0, 2_000), commission_bp=st.integers(0, 10_000))
    def settle(self, data: st.DataObject, part: int, vat: int, commission_bp: int) -> None:
        order = data.draw(st.sampled_from(sorted(self.books.held)))
        self.books.settle(order, data.draw(st.sampled_from(PROVIDERS)), part, vat, commission_bp)

    @invariant()
    def laws_hold(self) -> None:
        found = self.books.audit()
        assert found.fault == ""
        assert found.debits_minor == found.credits_minor
        assert found.held_minor == sum(amount for _, amount in self.books.held.values())
        assert found.held_minor == sum(balance.held_minor for balance in self.books.kept.values())
        assert all(balance.available_minor >= 0 for balance in self.books.kept.values())


Ledger.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
test_the_laws_hold_over_any_history = Ledger.TestCase


def some_books() -> Books:
    """Every kind of row, with a hold that is still open."""
    books = Books()
    books.top_up(ACCOUNTS[0], 5_000)
    books.top_up(ACCOUNTS[1], 5_000)
    for account in (*ACCOUNTS, *ACCOUNTS):
        books.hold(account, 900)
    first, second, third, _ = sorted(books.held)
    books.settle(first, PROVIDERS[0], 565, 65, 500)
    books.void(second)
    books.settle(third, PROVIDERS[1], 113, 13, 500)
    return books


BOOKS = some_books()
ROWS = st.integers(0, len(BOOKS.rows) - 1)
NAMES = sorted({name for row in BOOKS.rows for name in (row.debit, row.credit)})
ORDERS = [*sorted(BOOKS.orders), b"\x77" * 16, None]
REASONS = [*sorted({row.reason for row in BOOKS.rows}), "GIFT"]
ALTERED = st.one_of(
    st.fixed_dictionaries({"amount_minor": st.integers(-5, 2_000)}),
    st.fixed_dictionaries({"hold_minor": st.integers(-5, 2_000)}),
    st.fixed_dictionaries({"debit": st.sampled_from(NAMES)}),
    st.fixed_dictionaries({"credit": st.sampled_from(NAMES)}),
    st.fixed_dictionaries({"flag": st.sampled_from(Flag)}),
    st.fixed_dictionaries({"reason": st.sampled_from(REASONS)}),
    st.fixed_dictionaries({"order_id": st.sampled_from(ORDERS)}),
    st.fixed_dictionaries({"hold_id": st.sampled_from([None, *sorted({row.id for row in BOOKS.rows})])}),
)


@settings(max_examples=400, deadline=None)
@given(at=ROWS, altered=ALTERED)
def test_the_audit_finds_any_one_altered_row(at: int, altered: dict[str, Any]) -> None:
    row: Transfer = replace(BOOKS.rows[at], **altered)
    assume(row != BOOKS.rows[at])
    assert BOOKS.audit([*BOOKS.rows[:at], row, *BOOKS.rows[at + 1 :]]).fault


@pytest.mark.parametrize("at", range(len(BOOKS.rows)))
def test_the_audit_finds_any_one_removed_row(at: int) -> None:
    assert BOOKS.audit([*BOOKS.rows[:at], *BOOKS.rows[at + 1 :]]).fault


@settings(max_examples=200, deadline=None)
@given(at=ROWS, like=ROWS, to=ROWS, altered=ALTERED)
def test_the_audit_finds_any_one_added_row(at: int, like: int, to: int, altered: dict[str, Any]) -> None:
    row = replace(BOOKS.rows[like], **altered)
    assert BOOKS.audit([*BOOKS.rows[:at], row, *BOOKS.rows[at:]]).fault


def test_the_audit_names_the_row() -> None:
    rows = list(BOOKS.rows)
    rows[4] = replace(rows[4], amount_minor=Minor(0))
    assert BOOKS.audit(rows).fault.startswith(f"row 4 ({rows[4].id}): ")


ORDER = OrderId(b"\x05" * 16)
OPEN, DONE = {ORDER: OrderState.ENDING}, {ORDER: OrderState.SETTLED}


@pytest.mark.parametrize(
    ("orders", "charges", "fault"),
    [
        (DONE, {}, "it is settled without a charge record"),
        (OPEN, {(ORDER, None): 0}, "it has a charge record and is not settled"),
        (DONE, {(ORDER, None): 7}, "what was paid is not what its charge record says"),
        (DONE, {(ORDER, None): 0}, ""),
        (OPEN, {}, ""),
    ],
)
def test_orders_and_their_charge_records_must_agree(
    orders: dict[bytes, OrderState], charges: dict[tuple[bytes, bytes | None], int], fault: str
) -> None:
    assert audit((), {}, orders, charges).fault == (f"order {id_text(ORDER)}: {fault}" if fault else "")


def test_a_hold_of_a_finished_order_is_a_fault() -> None:
    books = some_books()
    books.orders[sorted(books.held)[0]] = OrderState.EXPIRED
    assert "the hold of a finished order is open" in books.audit().fault


def test_no_balance_passes_what_can_be_counted() -> None:
    books = Books()
    books.top_up(ACCOUNTS[0], MINOR_MAX)
    with pytest.raises(Rejected) as refused:
        books.top_up(ACCOUNTS[0], 1)
    assert refused.value.reason is Reason.AMOUNT_TOO_LARGE


@given(
    excl=st.integers(0, 10**15),
    vat=st.integers(0, 10**14),
    deposit=st.integers(0, 10**12),
    commission_bp=st.integers(0, 10_000),
)
def test_shares_add_up_and_none_is_below_zero(excl: int, vat: int, deposit: int, commission_bp: int) -> None:
    shares = ledger.divide(Minor(excl), Minor(excl + vat), Minor(deposit), commission_bp)
    assert shares.total_minor == excl + vat + deposit
    assert min(shares.provider_minor, shares.commission_minor, shares.vat_minor) >= 0
    assert abs(shares.commission_minor * 10_000 - excl * commission_bp) <= 5_000
