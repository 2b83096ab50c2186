"""What a Snapshot gives back to a cloud that was restored from a backup: all that was signed, once, and nothing else."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from cloud.domain.ledger import Balance
from cloud.store import tables as t
from energyshare.bodies import EndReceiptBody, GrantBody, OfferBody, Part, SelectionBody, StartReceiptBody, VoucherBody
from energyshare.messages import Snapshot, SnapshotOrder
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import Instant, OrderState, PartKind, TerminalId
from energyshare.wire import peek, seal
from tests.cloud.actors import FUNDS, Cloud, key, parts_of
from tests.cloud.conftest import OpenCloud
from tests.cloud.story import Story

K = PartKind
STEPS = ("demanded", "offered", "selected", "authorized", "active", "read", "ending", "settled")
BODIES: dict[PartKind, type[Any]] = {
    K.OFFER: OfferBody,
    K.SELECTION: SelectionBody,
    K.VOUCHER: VoucherBody,
    K.ISSUER_GRANT: GrantBody,
    K.START_RECEIPT: StartReceiptBody,
    K.END_RECEIPT: EndReceiptBody,
}
BOTH_KNOW = (*BODIES, K.DEVICE_GRANT, K.READING)
BY_USER = (*BOTH_KNOW, K.END_REQUEST, K.END_CONFIRMATION, K.SILENCE_DECISION, K.CHARGE_RECORD)
BY_PROVIDER = (*BOTH_KNOW, K.END_CONFIRMATION, K.CHARGE_RECORD)


def take_step(story: Story, step: str) -> None:
    """Take a story one step on."""
    match step:
        case "demanded":
            story.by_user(story.demand())
        case "offered":
            story.by_provider(story.offering())
        case "selected":
            story.by_user(story.selecting())
        case "authorized":
            story.by_provider(story.issuing())
        case "active":
            story.by_user(story.starting())
        case "read":
            story.read(60, 10)
            story.by_provider(story.reporting(*story.readings))
        case "ending":
            story.end(600, 100)
            story.by_user(story.asking_to_end())
        case "settled":
            story.by_provider(story.confirming())


@dataclass
class Restored:
    """A story that went on after a backup, and a cloud that was restored from that backup."""

    story: Story
    cloud: Cloud
    past: Cloud

    def known(self, kinds: tuple[PartKind, ...] = BY_USER, **changes: object) -> SnapshotOrder:
        """The order as a terminal knows it: its parts of some kinds."""
        held = [(K.PLATFORM_GRANT, self.past.platform.grant), *parts_of(self.past, self.story.order)]
        parts = tuple(Part(PartKind(kind), signed) for kind, signed in held if kind in (*kinds, K.PLATFORM_GRANT))
        state = OrderState(self.past.order(self.story.order).state)
        known = SnapshotOrder(self.story.order, state, parts, self.story.demand(), Instant(self.past.now - 60_000_000))
        return replace(known, **changes)  # type: ignore[arg-type]

    def says(self, name: str, known: SnapshotOrder) -> None:
        """Have a terminal come to the restored cloud with what it knows."""
        terminal = TerminalId(self.cloud.roster[name].id)
        row = self.cloud.readers.terminal(terminal)
        assert row is not None
        self.cloud.say(name, None, Snapshot((known,)), row.last_in + 1)

    @property
    def state(self) -> OrderState | None:
        """Where the order stands in the restored cloud."""
        orders = self.cloud.readers.rows(select(t.orders.c.state).where(t.orders.c.id == self.story.order))
        return OrderState(orders[0].state) if orders else None

    def record(self, cloud: Cloud | None = None) -> list[bytes]:
        """The charge records that a cloud, the restored one unless named, has signed."""
        return [signed for kind, signed in parts_of(cloud or self.cloud, self.story.order) if kind == K.CHARGE_RECORD]

    def kinds(self) -> list[int]:
        return sorted(kind for kind, _ in parts_of(self.cloud, self.story.order))


Restore = Callable[..., Restored]


@pytest.fixture
def restore(open_cloud: OpenCloud, tmp_path: Path) -> Restore:
    """Give what makes a backup before a step, goes on to another, and opens the backup."""

    def made(backup_after: str | None, until: str, user: str = "ann") -> Restored:
        past = open_cloud()
        story = Story(past, user=user)
        backup = tmp_path / "backup.db"
        reached = STEPS[: STEPS.index(until) + 1]
        for step in (None, *reached):
            if step is not None:
                take_step(story, step)
            if step == backup_after:
                _copy(past, backup)
            if step is None and user == "eve":
                past.top_up("eve", FUNDS)
        restored = open_cloud()
        restored.close()
        shutil.copy(backup, restored.path)
        restored.__post_init__()
        restored.now = past.now
        return Restored(story, restored, past)

    return made


def _copy(cloud: Cloud, path: Path) -> None:
    with cloud.engine.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    shutil.copy(cloud.path, path)


@pytest.mark.parametrize("backup_after", [None, *STEPS[:-1]])
def test_an_order_that_was_settled_after_the_backup_has_the_same_bill_again(restore: Restore, backup_after: str | None) -> None:
    lost = restore(backup_after, "settled")
    lost.says("ann", lost.known(BY_USER))
    lost.says("sun", lost.known(BY_PROVIDER))
    assert lost.state is OrderState.SETTLED
    assert lost.cloud.balance("ann") == lost.past.balance("ann")
    assert lost.cloud.balance("sun") == lost.past.balance("sun")
    assert lost.record() == lost.record(lost.past)
    assert lost.cloud.audit().fault == ""


def test_a_bill_that_silence_led_to_is_signed_again_as_it_was(restore: Restore) -> None:
    lost = restore(None, "ending")
    lost.past.pass_s(700)
    assert OrderState(lost.past.order(lost.story.order).state) is OrderState.SETTLED
    lost.cloud.now = lost.past.now = Instant(lost.past.now + 60_000_000)
    lost.says("ann", lost.known(BY_USER))
    assert lost.record() == lost.record(lost.past)


@pytest.mark.parametrize("order", [("ann", "sun"), ("sun", "ann")])
def test_whoever_comes_first_there_is_one_bill_and_it_is_the_old_one(restore: Restore, order: tuple[str, str]) -> None:
    lost = restore(None, "settled")
    for name in order:
        lost.says(name, lost.known({"ann": BY_USER, "sun": BY_PROVIDER}[name]))
    assert lost.record() == lost.record(lost.past)


@pytest.mark.parametrize("backup_after", [None, "demanded", "offered", "selected", "authorized", "active", "read"])
def test_an_order_that_was_under_way_goes_on(restore: Restore, backup_after: str | None) -> None:
    lost = restore(backup_after, "read")
    lost.says("ann", lost.known(BY_USER))
    assert lost.state is OrderState.ACTIVE
    assert lost.kinds() == sorted(kind for kind, _ in parts_of(lost.past, lost.story.order))
    assert lost.cloud.balance("ann").held_minor == lost.past.balance("ann").held_minor
    assert lost.cloud.audit().fault == ""


@pytest.mark.parametrize(("name", "kinds"), [("ann", BY_USER), ("sun", BY_PROVIDER)])
def test_saying_it_twice_changes_nothing(restore: Restore, name: str, kinds: tuple[PartKind, ...]) -> None:
    lost = restore(None, "settled")
    lost.says(name, lost.known(kinds))
    before = (lost.state, lost.kinds(), lost.cloud.balance("ann"))
    lost.says(name, lost.known(kinds))
    assert (lost.state, lost.kinds(), lost.cloud.balance("ann")) == before


def test_a_voucher_that_only_its_provider_holds_holds_nobodys_money(restore: Restore) -> None:
    lost = restore("selected", "authorized")
    lost.cloud.pass_s(400)
    states = [lost.state]
    for name, kinds in (("sun", BY_PROVIDER), ("ann", BY_USER)):
        lost.says(name, lost.known(kinds))
        states.append(lost.state)
    assert states == [OrderState.EXPIRED, OrderState.EXPIRED, OrderState.AUTHORIZED]
    assert lost.cloud.balance("ann").held_minor == lost.past.balance("ann").held_minor


def test_a_provider_alone_proves_a_start_by_the_holders_presentation(restore: Restore) -> None:
    lost = restore(None, "active")
    lost.says("sun", lost.known(BY_PROVIDER))
    assert lost.state is OrderState.ACTIVE


def test_a_user_whose_payment_was_lost_too_goes_on_unsecured_and_owes_its_bill(restore: Restore) -> None:
    lost = restore(None, "settled", user="eve")
    lost.says("eve", lost.known(BY_USER))
    assert (lost.state, lost.cloud.balance("eve").held_minor) == (OrderState.SETTLED, 0)
    assert lost.record() == lost.record(lost.past)
    assert lost.cloud.balance("sun") == lost.past.balance("sun")
    lost.cloud.top_up("eve", FUNDS)
    assert lost.cloud.balance("eve").available_minor == lost.past.balance("eve").available_minor
    assert lost.cloud.audit().fault == ""


@pytest.mark.parametrize("missing", [K.OFFER, K.SELECTION, K.VOUCHER, K.ISSUER_GRANT])
def test_an_unknown_order_is_not_made_from_less_than_an_agreement(restore: Restore, missing: PartKind) -> None:
    lost = restore(None, "active")
    lost.says("ann", lost.known(tuple(kind for kind in BY_USER if kind is not missing)))
    assert lost.state is None
    assert lost.cloud.balance("ann").held_minor == 0


@pytest.mark.parametrize("kind", BODIES)
def test_a_part_that_someone_else_signed_proves_nothing(restore: Restore, kind: PartKind) -> None:
    lost = restore(None, "ending")
    known = lost.known(BY_USER)
    forged = tuple(Part(part.kind, _resigned(part, key("forger"))) if part.kind is kind else part for part in known.parts)
    lost.says("ann", replace(known, parts=forged))
    reached = {K.START_RECEIPT: OrderState.ENDING, K.END_RECEIPT: OrderState.ACTIVE}  # an end receipt repeats the start
    assert lost.state is reached.get(kind)


def test_another_users_terminal_gains_nothing_from_someones_parts(restore: Restore) -> None:
    lost = restore(None, "authorized")
    lost.says("ben", lost.known(BY_USER))
    assert lost.state is None
    lost.says("ann", lost.known(BY_USER))
    lost.says("ben", lost.known(BY_USER))
    assert lost.cloud.balance("ben") == lost.past.balance("ben")


def test_nothing_is_merged_without_what_was_demanded(restore: Restore) -> None:
    lost = restore(None, "active")
    lost.says("ann", lost.known(BY_USER, demand=None))
    assert lost.state is None


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_lost_and_whoever_brings_it_money_moves_once(restore: Restore, data: st.DataObject) -> None:
    until = data.draw(st.sampled_from(STEPS[3:]))
    backup_after = data.draw(st.sampled_from((None, *STEPS[: STEPS.index(until) + 1])))
    lost = restore(backup_after, until)
    for _ in range(data.draw(st.integers(1, 4))):
        name, kinds = data.draw(st.sampled_from((("ann", BY_USER), ("sun", BY_PROVIDER))))
        lost.says(name, lost.known(tuple(data.draw(st.sets(st.sampled_from(kinds))))))
    lost.says("sun", lost.known(BY_PROVIDER))
    lost.says("ann", lost.known(BY_USER))
    lost.says("sun", lost.known(BY_PROVIDER))
    assert lost.state is OrderState(lost.past.order(lost.story.order).state)
    assert _amounts(lost.cloud.balance("ann")) == _amounts(lost.past.balance("ann"))
    assert _amounts(lost.cloud.balance("sun")) == _amounts(lost.past.balance("sun"))
    assert lost.cloud.audit().fault == ""


def _amounts(balance: Balance) -> tuple[int, int]:
    return balance.available_minor, balance.held_minor


def _resigned(part: Part, by: SigningKey) -> bytes:
    """The same body under another key."""
    return seal(peek(BODIES[part.kind], part.signed), by).signed
