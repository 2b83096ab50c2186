"""The ledger's laws over random histories, and the audit that finds any one row that was touched."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloud.domain import ledger
from cloud.domain.audit import Audit, Charges, OrderFacts, audit
from cloud.domain.ledger import Amounts, Balance, Flag, LedgerAccount, Shares, Transfer, TransferId
from energyshare.errors import Reason, Rejected
from energyshare.records import replace
from energyshare.values import MINOR_MAX, AccountId, Minor, OrderId, OrderState, ProviderId, id_text
from tests.cloud.actors import T0

ACCOUNTS = [AccountId(bytes([n]) * 16) for n in (1, 2)]
PROVIDERS = [ProviderId(bytes([n]) * 16) for n in (8, 9)]
AMOUNTS, DEPOSITS = st.integers(1, 10_000), st.integers(0, 3_000)
VATS, SHARES_BP = st.integers(0, 2_000), st.integers(0, 10_000)


@dataclass
class Held:
    """What is held for an order, and the number of its hold."""

    account: LedgerAccount
    amounts: Amounts
    number: int


@dataclass
class Books:
    """A ledger in memory: its rows, the balances kept, and how its orders stand."""

    rows: list[Transfer] = field(default_factory=list)
    kept: dict[LedgerAccount, Balance] = field(default_factory=dict)
    held: dict[OrderId, Held] = field(default_factory=dict)
    users: dict[OrderId, AccountId] = field(default_factory=dict)
    states: dict[OrderId, OrderState] = field(default_factory=dict)
    bills: dict[OrderId, tuple[ProviderId, Shares]] = field(default_factory=dict)

    def add(self, *transfers: Transfer) -> None:
        """Write rows, all or none, and collect what is owed."""
        kept = dict(self.kept)
        for transfer in transfers:
            kept |= ledger.apply(kept, transfer)
        wallets = {name(user) for user in ACCOUNTS for name in (ledger.user_account, ledger.receivable_account)}
        collections = list(ledger.collections({wallet: Balance(wallet) for wallet in wallets} | kept, transfers))
        for collection in collections:
            kept |= ledger.apply(kept, collection)
        self.kept = kept
        self.rows += [*transfers, *collections]

    def available(self, account: LedgerAccount) -> int:
        return self.kept.get(account, Balance(account)).available_minor

    def top_up(self, account: AccountId, amount: int) -> None:
        name = TransferId(f"top-up/{id_text(account)}/{len(self.rows)}")
        user = ledger.user_account(account)
        self.add(Transfer(name, None, T0, ledger.FUNDING, user, Minor(amount), Flag.POSTED, "TOP_UP"))

    def new_order(self, account: AccountId) -> OrderId:
        order = OrderId(len(self.users).to_bytes(16, "big"))
        self.users[order] = account
        return order

    def hold(self, account: AccountId, price: int, deposit: int) -> None:
        order, user, held = self.new_order(account), ledger.user_account(account), amounts(price, deposit)
        self.states[order], self.held[order] = OrderState.SELECTED, Held(user, held, 1)
        try:
            self.add(*ledger.hold(order, 1, user, held, T0))
        except Rejected:
            del self.held[order]
            raise

    def void(self, order: OrderId) -> None:
        held = self.held.pop(order)
        self.add(*ledger.void(order, held.number, held.account, held.amounts, T0))
        self.states[order] = OrderState.CANCELLED

    def settle(self, order: OrderId, provider: ProviderId, part: int, vat: int, claim: int, commission_bp: int) -> None:
        """Pay a bill out of the hold, and a claim out of the deposit."""
        held = self.held.pop(order)
        price, claimed = min(part, held.amounts.price_minor), min(claim, held.amounts.deposit_minor)
        shares = shares_of(price, vat, commission_bp, claimed)
        paid = ledger.post(order, held.number, held.account, held.amounts, amounts(price, claimed), T0)
        self.add(*paid, *ledger.pay_out(order, 1, provider, shares, T0))
        self.states[order], self.bills[order] = OrderState.SETTLED, (provider, shares)

    def settle_unsecured(self, account: AccountId, provider: ProviderId, shares: Shares) -> None:
        """Book a bill that nothing was held for."""
        order = self.new_order(account)
        owed = ledger.owe(order, 1, account, shares.total_minor, T0)
        self.add(owed, *ledger.pay_out(order, 1, provider, shares, T0))
        self.states[order], self.bills[order] = OrderState.SETTLED, (provider, shares)

    def dispute(self, order: OrderId) -> None:
        """Hold all that the provider had of a bill."""
        provider, shares = self.bills[order]
        account = ledger.provider_account(provider)
        held = amounts(shares.provider_minor, shares.deposit_minor)
        self.add(*ledger.hold(order, 2, account, held, T0))
        self.states[order], self.held[order] = OrderState.DISPUTED, Held(account, held, 2)

    def rule(self, order: OrderId, charged: int, vat: int, claim: int, commission_bp: int) -> None:
        """Leave the user a bill of so much, and give the rest back."""
        (provider, before), held = self.bills[order], self.held.pop(order)
        claimed = min(claim, before.deposit_minor)
        after = shares_of(min(charged, before.price_minor), vat, commission_bp, claimed)
        lost = before - after
        if min(lost.provider_minor, lost.commission_minor, lost.vat_minor) < 0:
            after, lost = Shares(0, 0, 0, 0), before
        left = Shares(0, -lost.commission_minor, -lost.vat_minor, 0)
        refund = ledger.refund(order, 2, self.users[order], amounts(lost.price_minor, lost.deposit_minor), T0)
        back = amounts(lost.provider_minor, lost.deposit_minor)
        ended = ledger.post(order, 2, held.account, held.amounts, back, T0)
        self.add(*ended, *ledger.pay_out(order, 2, provider, left, T0), *refund)
        self.states[order], self.bills[order] = OrderState.SETTLED, (provider, after)

    def orders(self) -> dict[bytes, OrderFacts]:
        held = {order: held.amounts for order, held in self.held.items()}
        nothing = amounts(0)
        return {
            order: OrderFacts(state, held.get(order, nothing).total_minor, held.get(order, nothing).deposit_minor)
            for order, state in self.states.items()
        }

    def audit(self, rows: list[Transfer] | None = None) -> Audit:
        charges: dict[bytes, Charges] = {
            order: Charges(1, shares.price_minor, shares.deposit_minor, shares.vat_minor)
            for order, (_, shares) in self.bills.items()
        }
        return audit(enumerate(self.rows if rows is None else rows), self.kept, self.orders(), charges)


def amounts(price: int, deposit: int = 0) -> Amounts:
    return Amounts(Minor(price), Minor(deposit))


def shares_of(incl_vat: int, vat: int, commission_bp: int, claimed: int = 0) -> Shares:
    shares = ledger.divide(Minor(max(0, incl_vat - vat)), Minor(incl_vat), Minor(claimed), commission_bp)
    assert (shares.price_minor, shares.deposit_minor) == (incl_vat, claimed)
    return shares


class Ledger(RuleBasedStateMachine):
    """Random payments, holds, releases, settlements, debts, disputes and rulings."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()

    @rule(account=st.sampled_from(ACCOUNTS), amount=AMOUNTS)
    def pay_in(self, account: AccountId, amount: int) -> None:
        self.books.top_up(account, amount)

    @rule(account=st.sampled_from(ACCOUNTS), amount=AMOUNTS, deposit=DEPOSITS)
    def select(self, account: AccountId, amount: int, deposit: int) -> None:
        if amount + deposit <= self.books.available(ledger.user_account(account)):
            self.books.hold(account, amount, deposit)
            return
        with pytest.raises(Rejected, match="INSUFFICIENT_FUNDS"):
            self.books.hold(account, amount, deposit)

    @precondition(lambda self: self.selected())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.books.void(data.draw(st.sampled_from(self.selected())))

    @precondition(lambda self: self.selected())
    @rule(data=st.data(), part=st.integers(0, 10_000), vat=VATS, claim=DEPOSITS, commission_bp=SHARES_BP)
    def settle(self, data: st.DataObject, part: int, vat: int, claim: int, commission_bp: int) -> None:
        order = data.draw(st.sampled_from(self.selected()))
        self.books.settle(order, data.draw(st.sampled_from(PROVIDERS)), part, vat, claim, commission_bp)

    @rule(account=st.sampled_from(ACCOUNTS), provider=st.sampled_from(PROVIDERS), amount=AMOUNTS, vat=VATS)
    def settle_unsecured(self, account: AccountId, provider: ProviderId, amount: int, vat: int) -> None:
        self.books.settle_unsecured(account, provider, shares_of(amount, vat, 500))

    @precondition(lambda self: self.disputable())
    @rule(data=st.data(), charged=st.integers(0, 10_000), vat=VATS, claim=DEPOSITS, commission_bp=SHARES_BP)
    def dispute_and_rule(self, data: st.DataObject, charged: int, vat: int, claim: int, commission_bp: int) -> None:
        order = data.draw(st.sampled_from(self.disputable()))
        self.books.dispute(order)
        assert self.books.audit().fault == ""
        self.books.rule(order, charged, vat, claim, commission_bp)

    def selected(self) -> list[OrderId]:
        return sorted(self.books.held)

    def disputable(self) -> list[OrderId]:
        """Orders of which the provider had something, and that were not ruled before."""
        ruled = {row.order_id for row in self.books.rows if row.id.endswith("hold-2")}
        return sorted(o for o, (_, shares) in self.books.bills.items() if shares.provider_minor and o not in ruled)

    @invariant()
    def laws_hold(self) -> None:
        found = self.books.audit()
        assert found.fault == ""
        assert found.debits_minor == found.credits_minor
        assert found.held_minor == sum(held.amounts.total_minor for held in self.books.held.values())
        assert found.held_minor == sum(balance.held_minor for balance in self.books.kept.values())
        for account in ACCOUNTS:
            user, owed = ledger.user_account(account), ledger.receivable_account(account)
            assert self.books.available(user) >= 0
            assert self.books.kept.get(owed, Balance(owed)).owed_minor >= 0
            assert not self.books.available(user) or not self.books.kept.get(owed, Balance(owed)).owed_minor


Ledger.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
test_the_laws_hold_over_any_history = Ledger.TestCase


def some_books() -> Books:
    """Every kind of row, with a hold that is still open."""
    books = Books()
    for account in ACCOUNTS:
        books.top_up(account, 5_000)
    for account in (*ACCOUNTS, *ACCOUNTS):
        books.hold(account, 900, 200)
    first, second, third, _ = sorted(books.held)
    books.settle(first, PROVIDERS[0], 565, 65, 150, 500)
    books.void(second)
    books.settle(third, PROVIDERS[1], 113, 13, 0, 500)
    books.dispute(first)
    books.rule(first, 226, 26, 100, 500)
    books.settle_unsecured(ACCOUNTS[1], PROVIDERS[0], shares_of(9_040, 1_040, 500))
    books.top_up(ACCOUNTS[1], 60)
    return books


BOOKS = some_books()
ROWS = st.integers(0, len(BOOKS.rows) - 1)
NAMES = sorted({name for row in BOOKS.rows for name in (row.debit, row.credit)})
ORDERS = [*sorted(BOOKS.users), b"\x77" * 16, None]
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
OPEN, DONE = OrderFacts(OrderState.ENDING, 0), OrderFacts(OrderState.SETTLED, 0)
DISPUTED, CANCELLED = OrderFacts(OrderState.DISPUTED, 0), OrderFacts(OrderState.CANCELLED, 0)


@pytest.mark.parametrize(
    ("order", "charges", "fault"),
    [
        (DONE, None, "it is settled without a charge record"),
        (DISPUTED, None, "it is settled without a charge record"),
        (OPEN, Charges(1, 0), "it has a charge record and is not settled"),
        (CANCELLED, Charges(1, 0), "it has a charge record and is not settled"),
        (DONE, Charges(2, 0), "it has two original charge records"),
        (DONE, Charges(1, 7), "what was paid is not what its charge record says"),
        (DONE, Charges(1, 0, 7), "what was taken of its deposit is not what its charge record says"),
        (DONE, Charges(1, 0, 0, 7), "the VAT is not what its charge record says"),
        (OrderFacts(OrderState.SETTLED, 0, 5), Charges(1, 0), "what is held as its deposit is not what it says"),
        (OrderFacts(OrderState.SETTLED, 5), Charges(1, 0), "what is held is not what it says"),
        (DONE, Charges(1, 0), ""),
        (DISPUTED, Charges(1, 0), ""),
        (OPEN, None, ""),
    ],
)
def test_orders_and_their_charge_records_must_agree(order: OrderFacts, charges: Charges | None, fault: str) -> None:
    found = audit((), {}, {ORDER: order}, {ORDER: charges} if charges else {})
    assert found.fault == (f"order {id_text(ORDER)}: {fault}" if fault else "")


def test_a_hold_that_its_order_does_not_know_of_is_a_fault() -> None:
    books = some_books()
    books.held.popitem()
    assert "what is held is not what it says" in books.audit().fault
    books.states.clear()
    assert "the hold of no order is open" in books.audit().fault


def test_a_provider_s_account_falls_below_zero_by_a_correction_and_not_by_a_hold() -> None:
    books = some_books()
    account = ledger.provider_account(PROVIDERS[0])
    much = Minor(books.available(account) + 1)
    with pytest.raises(Rejected, match="INSUFFICIENT_FUNDS"):
        books.add(*ledger.hold(ORDER, 1, account, amounts(much), T0))
    books.add(*ledger.pay_out(ORDER, 2, PROVIDERS[0], Shares(-much, 0, 0, 0), T0))
    assert books.available(account) == -1


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
    assert shares.deposit_minor == deposit
    assert abs(shares.commission_minor * 10_000 - excl * commission_bp) <= 5_000
