"""A terminal that lost its journal gets its orders back by evidence; one whose cloud lost something says it again."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import update

from cloud.greeting import account_orders
from cloud.store import tables as t
from energyshare.bodies import Part, VoucherBody
from energyshare.errors import Reason
from energyshare.messages import (
    Award,
    Cancel,
    Demand,
    Inventory,
    Message,
    RejectedMessage,
    Snapshot,
    SnapshotOrder,
    Voucher,
)
from energyshare.records import replace
from energyshare.values import AccountId, Incarnation, Instant, Number, OrderId, PartKind, Role
from energyshare.wire import decode, decode_presentable, peek
from terminals.identity import Identity
from terminals.journal import Journal
from terminals.link import Frame
from terminals.provider.catalog import Catalog
from terminals.provider.config import Offers
from terminals.provider.documents import OrderDocument
from terminals.provider.orders import ProviderOrders
from terminals.provider.recovery import take_snapshot as take_as_provider
from terminals.recovery import known_orders
from terminals.stream import Terminal
from terminals.user.account import adopt
from terminals.user.order import UserOrder, find_order, save_order
from terminals.user.orders import UserOrders
from terminals.user.recovery import take_snapshot as take_as_user
from tests.cloud.actors import PLATFORM, ROOT, TARIFFS, Cloud, asset_of, found_cloud, grant, key, reopened
from tests.cloud.story import Story
from tests.cloud.test_greeting import restart, told
from tests.terminals_world import identity

K = PartKind
CLOUD, OTHER_CLOUD = Incarnation(b"C" * 16), Incarnation(b"D" * 16)
Until = Callable[[Story], Story]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    path = tmp_path_factory.mktemp("founded") / "cloud.db"
    return path, dict(found_cloud(path))


@pytest.fixture
def cloud(template: tuple[Path, dict[str, object]], tmp_path: Path) -> Iterator[Cloud]:
    opened = reopened(template[0], tmp_path / "cloud.db", dict(template[1]))  # type: ignore[arg-type]
    yield opened
    opened.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db")
    yield made
    made.close()


def home(cloud: Cloud, name: str) -> Identity:
    """What the home of someone enrolled holds."""
    who = cloud.roster[name]
    issuing = who.grant.signed if who.role == "provider" else None
    made = identity(who.role, who.id, who.owner, key(name), issuing)
    return dataclasses.replace(made, root_key=ROOT.public, platform_grant=grant(b"C" * 16, Role.PLATFORM, PLATFORM).signed)


def user_terminal(cloud: Cloud, journal: Journal, name: str = "ann") -> Terminal:
    return Terminal(home(cloud, name), journal, lambda: cloud.now)


def provider_orders(cloud: Cloud, journal: Journal) -> ProviderOrders:
    assets = {a.asset_id: a for a in (asset_of(cloud.roster, "sun-outlet"), asset_of(cloud.roster, "sun-worker"))}
    terminal = Terminal(home(cloud, "sun"), journal, lambda: cloud.now)
    return ProviderOrders(terminal, Catalog(assets, TARIFFS, {}), Offers(), lambda: cloud.now)


def lost_and_told(cloud: Cloud, name: str) -> Snapshot:
    """Have a terminal come with an empty journal; gives what the cloud tells it."""
    restart(cloud, name)
    return Snapshot(tuple(told(cloud, name)))


def recovered_user(cloud: Cloud, journal: Journal, story: Story) -> UserOrder:
    terminal, snapshot = user_terminal(cloud, journal), lost_and_told(cloud, "ann")
    for _ in range(2):  # once more changes nothing
        with terminal.transaction():
            take_as_user(terminal, snapshot)
    order = find_order(journal, story.order)
    assert order is not None
    return order


def recovered_provider(cloud: Cloud, journal: Journal, story: Story) -> OrderDocument:
    orders, snapshot = provider_orders(cloud, journal), lost_and_told(cloud, "sun")
    for _ in range(2):
        with orders.book.terminal.transaction():
            take_as_provider(orders, snapshot)
    return orders.document(story.order)


def said(terminal: Terminal) -> list[Message]:
    """What a terminal has said and nobody acknowledged."""
    return [opened.message for opened in terminal._link.begin_anew()]  # type: ignore[misc]


STATES: Sequence[tuple[Until, str, str]] = (
    (Story.until_offered, "DEMANDED", "OFFERED"),
    (Story.until_selected, "SELECTED", "OFFERED"),
    (Story.until_authorized, "AUTHORIZED", "AUTHORIZED"),
    (Story.until_active, "ACTIVE", "ACTIVE"),
    (Story.until_ending, "ENDING", "ENDING"),
    (Story.until_settled, "SETTLED", "SETTLED"),
    (Story.until_disputed, "DISPUTED", "DISPUTED"),
    (Story.until_expired, "EXPIRED", "CLOSED"),
)


@pytest.mark.parametrize("device", ["sun-outlet", "sun-worker"])
@pytest.mark.parametrize(("until", "state", "_"), STATES)
def test_a_user_gets_its_order_back_where_it_stood(
    cloud: Cloud, journal: Journal, until: Until, state: str, _: str, device: str
) -> None:
    sign_grants(cloud)
    story = until(Story(cloud, device=device))
    order = recovered_user(cloud, journal, story)
    assert (order.state, order.number, len(order.offers)) == (state, 1, 1)
    assert decode(Demand, order.demand).place == story.demand().place
    if state not in ("DEMANDED", "SELECTED"):
        assert order.presentable is not None
        assert decode_presentable(order.presentable).voucher == story.voucher.signed
    assert order.proved is (state in ("SETTLED", "DISPUTED"))


@pytest.mark.parametrize("device", ["sun-outlet", "sun-worker"])
@pytest.mark.parametrize(("until", "_", "state"), STATES)
def test_a_provider_gets_its_order_back_where_it_stood(
    cloud: Cloud, journal: Journal, until: Until, _: str, state: str, device: str
) -> None:
    story = until(Story(cloud, device=device))
    document = recovered_provider(cloud, journal, story)
    assert (document.state, len(document.offers)) == (state, 1)
    if state not in ("OFFERED",):
        assert document.voucher == story.voucher.digest
        assert document.holder_key == story.who("ann").key.public
        assert journal.document("serial", story.offer.body.asset.device_id) == str(story.serial).encode()


def test_a_service_comes_back_with_its_amendments_and_what_was_answered(cloud: Cloud, journal: Journal, tmp_path: Path) -> None:
    story = Story(cloud, device="sun-worker").until_active()
    story.by_provider(story.proposing(duration_s=600))
    story.by_user(story.answering())
    story.by_provider(story.proposing(duration_s=900))
    order = recovered_user(cloud, journal, story)
    assert [(line.duration_s, line.approved) for line in order.amendments] == [(600, True), (900, None)]
    document = recovered_provider(cloud, Journal(tmp_path / "provider.db"), story)
    assert [(line.duration_s, line.approved) for line in document.amendments] == [(600, True), (900, None)]


@pytest.mark.parametrize("ahead", [0, 10**6])
def test_a_serial_that_was_given_is_never_given_again(cloud: Cloud, journal: Journal, ahead: int) -> None:
    serial = cloud.now // 1_000 + ahead
    Story(cloud, serial=serial).until_authorized()
    orders, snapshot = provider_orders(cloud, journal), lost_and_told(cloud, "sun")
    with orders.book.terminal.transaction():
        take_as_provider(orders, snapshot)
    other = Story(cloud, order=OrderId(b"\x02" * 16))
    offer = other.offering()
    with orders.book.terminal.transaction():
        journal.add_part(other.order, K.OFFER, other.offer.digest, offer.offer)
        orders.handle(other.order, Award(other.selecting().selection, other.who("ann").key.public))
    [voucher] = [message for message in said(orders.book.terminal) if isinstance(message, Voucher)]
    assert peek(VoucherBody, decode_presentable(voucher.presentable).voucher).serial > serial


def test_a_provider_tells_all_of_its_assets_again(cloud: Cloud, journal: Journal) -> None:
    orders = provider_orders(cloud, journal)
    with orders.book.terminal.transaction():
        take_as_provider(orders, Snapshot(()))
    [told_again] = [message for message in said(orders.book.terminal) if isinstance(message, Inventory)]
    assert {asset.name for asset in told_again.assets} == {"sun-outlet", "sun-worker"}


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (K.OFFER, "DEMANDED"),
        (K.SELECTION, "DEMANDED"),
        (K.VOUCHER, "SELECTED"),
        (K.ISSUER_GRANT, "DEMANDED"),
        (K.START_RECEIPT, "AUTHORIZED"),
        (K.DEVICE_GRANT, "AUTHORIZED"),
    ],
)
def test_a_part_that_does_not_hold_is_left_out(cloud: Cloud, journal: Journal, kind: PartKind, state: str) -> None:
    story = Story(cloud).until_active()
    [known] = lost_and_told(cloud, "ann").orders
    forged = replace(known, parts=tuple(_spoiled(part) if part.kind is kind else part for part in known.parts))
    terminal = user_terminal(cloud, journal)
    with terminal.transaction():
        take_as_user(terminal, Snapshot((forged,)))
    order = find_order(journal, story.order)
    assert order is not None
    assert order.state == state
    assert journal.parts(story.order, kind) == []


def test_an_order_without_a_demand_that_is_not_known_here_is_left_out(cloud: Cloud, journal: Journal) -> None:
    story = Story(cloud).until_active()
    [known] = lost_and_told(cloud, "ann").orders
    terminal = user_terminal(cloud, journal)
    with terminal.transaction():
        take_as_user(terminal, Snapshot((replace(known, demand=None),)))
    assert find_order(journal, story.order) is None


# Several terminals of one account


def test_orders_of_another_terminal_are_kept_and_proved_but_can_not_be_presented(cloud: Cloud, journal: Journal) -> None:
    story = Story(cloud).until_settled()
    running = Story(cloud, order=OrderId(b"\x02" * 16)).until_active()
    second = user_terminal(cloud, journal, "ben")
    assert adopt(second, of_account(cloud, "ann")) == [story.order, running.order]
    assert adopt(second, of_account(cloud, "ann")) == []
    order, active = find_order(journal, story.order), find_order(journal, running.order)
    assert order is not None
    assert active is not None
    assert (order.state, order.proved, active.state) == ("SETTLED", True, "ACTIVE")
    assert active.presentable is None
    assert active.holder_key == story.who("ann").key.public
    assert said(second) == []


def test_what_another_terminal_only_demanded_has_a_holder_that_is_not_known(cloud: Cloud, journal: Journal) -> None:
    story = Story(cloud).until_demanded()
    second = user_terminal(cloud, journal, "ben")
    adopt(second, of_account(cloud, "ann"))
    order = find_order(journal, story.order)
    assert order is not None
    assert order.holder_key == b""


def test_adopting_leaves_ones_own_orders_as_they_are_and_tells_nobody_of_the_others(cloud: Cloud, journal: Journal) -> None:
    own, others = Story(cloud).until_active(), Story(cloud, order=OrderId(b"\x02" * 16))
    recovered_user(cloud, journal, own)
    others.until_active()
    terminal = user_terminal(cloud, journal)
    assert adopt(terminal, of_account(cloud, "ann")) == [others.order]
    assert [order.order_id for order in known_orders(journal, terminal.identity, cloud.now)] == [own.order]


# Saying again


def test_a_terminal_says_first_what_it_knows_and_then_again_what_was_not_heard(cloud: Cloud, journal: Journal) -> None:
    story = Story(cloud).until_active()
    recovered_user(cloud, journal, story)
    terminal = user_terminal(cloud, journal)
    terminal._agree(CLOUD, restarted=False)
    with terminal.transaction():
        for word in ("HEARD", "LOST"):
            number = terminal.say(story.order, Cancel(word))
            order = find_order(journal, story.order)
            assert order is not None
            order.note_asked("CANCEL", number)
            save_order(journal, story.order, order)
    terminal._link.take(Frame(acks={story.order: 1}), lambda conversation, message: None, lambda refusal: None)
    terminal._agree(OTHER_CLOUD, restarted=True)
    order = find_order(journal, story.order)
    assert order is not None
    assert order.asked == {"CANCEL": 1}
    assert journal.meta("cloud") == OTHER_CLOUD
    first, again = said(terminal)
    assert isinstance(first, Snapshot)
    assert [known.order_id for known in first.orders] == [story.order]
    assert again == Cancel("LOST")


def test_an_old_snapshot_that_was_not_heard_is_not_said_again(cloud: Cloud, journal: Journal) -> None:
    terminal = user_terminal(cloud, journal)
    for incarnation in (CLOUD, OTHER_CLOUD):
        terminal._agree(incarnation, restarted=True)
    assert said(terminal) == [Snapshot(())]


@pytest.mark.parametrize(
    ("number", "reason", "reaches"),
    [(1, Reason.WRONG_STATE, False), (1, Reason.INSUFFICIENT_FUNDS, True), (2, Reason.WRONG_STATE, True)],
)
def test_only_a_refusal_that_answers_a_repeat_is_passed_over(
    cloud: Cloud, journal: Journal, number: int, reason: Reason, reaches: bool
) -> None:
    story = Story(cloud).until_active()
    recovered_user(cloud, journal, story)
    terminal = user_terminal(cloud, journal)
    with terminal.transaction():
        terminal.say(story.order, Cancel("AGAIN"))
    terminal._agree(CLOUD, restarted=True)
    with terminal.transaction():
        terminal.say(story.order, Cancel("NEW"))
        terminal._deliver(story.order, RejectedMessage(Number(number), reason, {}), UserOrders(terminal))
    order = find_order(journal, story.order)
    assert order is not None
    assert order.reason == (reason if reaches else "")


def test_what_a_provider_tells_has_its_grant_and_what_ended_long_ago_is_left_out(cloud: Cloud, journal: Journal) -> None:
    story = Story(cloud).until_settled()
    recovered_provider(cloud, journal, story)
    own = home(cloud, "sun")
    [known] = known_orders(journal, own, cloud.now)
    assert known.parts[:2] == (Part(K.PLATFORM_GRANT, own.platform_grant), Part(K.ISSUER_GRANT, own.grant or b""))
    assert known.demand is not None
    assert list(known_orders(journal, own, Instant(cloud.now + 4 * 86_400 * 1_000_000))) == []


def sign_grants(cloud: Cloud) -> None:
    """Have the operator hand out the providers' grants."""
    for name in ("sun", "moon"):
        who = cloud.roster[name]
        signed = update(t.terminals).where(t.terminals.c.id == who.id).values(grant_signed=who.grant.signed)
        with cloud.engine.begin() as connection:
            connection.execute(signed)


def of_account(cloud: Cloud, name: str) -> list[SnapshotOrder]:
    """All orders of a user's account, as any of its terminals is told."""
    account = AccountId(cloud.roster[name].owner)
    found: list[SnapshotOrder] = cloud.run(lambda work, now: account_orders(work, account, b"", now))
    return found


def _spoiled(part: Part) -> Part:
    """A part with another signature."""
    return Part(part.kind, part.signed[:-20] + bytes([part.signed[-20] ^ 1]) + part.signed[-19:])
