"""How a stream begins: when numbers go on, and what a terminal is told when all conversations begin anew."""

from typing import Any

import pytest
from sqlalchemy import select, update

from cloud.greeting import ACCOUNT_PAGE, Greeting, account_orders, begin_anew, greet
from cloud.items import Command
from cloud.store import tables as t
from energyshare.messages import Award, ConfirmEnd, Inventory, Message, Offer, Snapshot, SnapshotOrder
from energyshare.values import AccountId, AssetState, Incarnation, Number, OrderId, OrderState, PartKind, TerminalId
from energyshare.wire import decode_envelope
from tests.cloud.actors import OUTLET_TARIFF, Cloud, asset_of, refusals
from tests.cloud.story import Story

OWN, OTHER_CLOUD = Incarnation(b"C" * 16), Incarnation(b"D" * 16)
FIRST, SECOND = Incarnation(b"1" * 16), Incarnation(b"2" * 16)
K = PartKind


def greeting(cloud: Cloud, name: str, incarnation: Incarnation = FIRST, known: Incarnation | None = None) -> Greeting:
    return Greeting(TerminalId(cloud.roster[name].id), incarnation, known)


def goes_on(cloud: Cloud, incarnation: Incarnation, known: Incarnation | None) -> bool:
    result: bool = cloud.run(lambda work, now: greet(work, greeting(cloud, "ann", incarnation, known), OWN))
    return result


def restart(cloud: Cloud, name: str) -> None:
    """Have a terminal come with another journal."""
    cloud.run(lambda work, now: begin_anew(work, greeting(cloud, name, SECOND), now))
    for key in [key for key in cloud.numbers if key[0] == cloud.roster[name].id]:
        del cloud.numbers[key]


def waiting(cloud: Cloud, name: str) -> list[tuple[OrderId | None, int, Message]]:
    """All that the outbox holds for a terminal."""
    found, after = [], (b"", 0)
    while page := cloud.readers.outbox(TerminalId(cloud.roster[name].id), after):
        found += [(e.order_id, e.number, decode_envelope(e.raw).message) for e in page]
        after = (page[-1].order_id or b"", page[-1].number)
    return found


def told(cloud: Cloud, name: str) -> list[SnapshotOrder]:
    """The orders of the Snapshots that wait for a terminal."""
    return [order for _, _, message in waiting(cloud, name) if isinstance(message, Snapshot) for order in message.orders]


def kinds(order: SnapshotOrder) -> list[PartKind]:
    return [part.kind for part in order.parts]


@pytest.mark.parametrize(
    ("incarnation", "known", "expected"),
    [
        (FIRST, OWN, True),
        (SECOND, OWN, False),
        (FIRST, OTHER_CLOUD, False),
        (SECOND, OTHER_CLOUD, False),
        (FIRST, None, False),
    ],
)
def test_numbers_go_on_only_between_the_same_journal_and_the_same_database(
    cloud: Cloud, incarnation: Incarnation, known: Incarnation | None, expected: bool
) -> None:
    assert goes_on(cloud, FIRST, None)  # the first contact of all
    assert goes_on(cloud, incarnation, known) is expected


def test_a_terminal_that_knows_a_cloud_which_never_saw_it_begins_anew(cloud: Cloud) -> None:
    assert not goes_on(cloud, FIRST, OWN)


@pytest.mark.parametrize("name", ["ann", "sun"])
def test_a_terminal_without_orders_is_told_so(cloud: Cloud, name: str) -> None:
    restart(cloud, name)
    assert waiting(cloud, name) == [(None, 1, Snapshot(()))]


def test_a_user_is_told_all_of_its_order_and_numbers_begin_at_one(cloud: Cloud) -> None:
    story = Story(cloud).until_active()
    restart(cloud, "ann")
    [order] = told(cloud, "ann")
    assert (order.order_id, order.state, order.demand) == (story.order, OrderState.ACTIVE, story.demand())
    assert kinds(order) == [K.OFFER, K.SELECTION, K.VOUCHER, K.ISSUER_GRANT, K.DEVICE_GRANT, K.START_RECEIPT]
    story.end(600, 100)
    outcome = story.by_user(story.asking_to_end())
    assert story.state == OrderState.ENDING
    assert outcome.acks[TerminalId(cloud.roster["ann"].id), story.order] == 1


def test_the_other_sides_numbers_are_left_as_they_are(cloud: Cloud) -> None:
    story = Story(cloud).until_active()
    before = cloud.numbers[cloud.roster["sun"].id, story.order]
    restart(cloud, "ann")
    story.read(60, 10)
    outcome = story.by_provider(story.reporting(*story.readings))
    assert outcome.acks[TerminalId(cloud.roster["sun"].id), story.order] == before + 1


def test_what_waited_is_dropped_and_comes_with_the_snapshot(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    grant = story.who("sun").grant.signed
    signed = update(t.terminals).where(t.terminals.c.id == cloud.roster["sun"].id).values(grant_signed=grant)
    cloud.run(lambda work, now: work.unit.execute(signed))
    assert [type(message) for _, _, message in waiting(cloud, "ann")].count(Offer) == 1
    restart(cloud, "ann")
    assert [type(message) for _, _, message in waiting(cloud, "ann")] == [Snapshot]
    [order] = told(cloud, "ann")
    assert kinds(order) == [K.OFFER, K.ISSUER_GRANT]
    assert order.parts[1].signed == grant


def test_a_restart_sees_what_the_messages_before_it_in_its_batch_did(cloud: Cloud) -> None:
    story = Story(cloud).until_authorized()
    answers: list[Any] = []
    started = cloud.inbound("sun", story.order, story.starting())
    begin = Command(lambda work, now: begin_anew(work, greeting(cloud, "ann", SECOND), now), answers.append)
    cloud.process(started, begin)
    assert [order.state for order in told(cloud, "ann")] == [OrderState.ACTIVE]
    assert K.START_RECEIPT in kinds(told(cloud, "ann")[0])
    assert len(waiting(cloud, "ann")) == 1


def test_an_order_in_the_processors_memory_begins_anew_too(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    restart(cloud, "ann")
    assert not refusals(cloud, story.by_user(story.selecting()), "ann")
    assert story.state == OrderState.SELECTED


def test_a_provider_sees_its_own_offers_and_nothing_of_another_providers(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    rival = Story(cloud, device="moon-outlet", order=story.order)
    rival.by_provider(rival.offering())
    for name, own in (("sun", story), ("moon", rival)):
        restart(cloud, name)
        [order] = told(cloud, name)
        assert [part.signed for part in order.parts] == [own.offer.signed]
    story.by_user(story.selecting())
    story.by_provider(story.issuing())
    restart(cloud, "moon")
    [order] = told(cloud, "moon")
    assert (order.state, order.parts) == (OrderState.CANCELLED, ())


def test_a_provider_that_was_selected_is_asked_for_the_voucher_once_more(cloud: Cloud) -> None:
    story = Story(cloud).until_selected()
    restart(cloud, "sun")
    assert [(order_id, number, type(message)) for order_id, number, message in waiting(cloud, "sun")] == [
        (None, 1, Snapshot),
        (story.order, 1, Award),
    ]
    story.by_provider(story.issuing())
    assert story.state == OrderState.AUTHORIZED


@pytest.mark.parametrize("with_receipt", [True, False])
def test_a_provider_is_asked_to_confirm_an_end_once_more(cloud: Cloud, with_receipt: bool) -> None:
    story = Story(cloud).until_active()
    story.end(600, 100)
    story.by_user(story.asking_to_end(with_receipt))
    asked = cloud.told("sun", ConfirmEnd)[-1]
    restart(cloud, "sun")
    [again] = [message for _, _, message in waiting(cloud, "sun") if isinstance(message, ConfirmEnd)]
    assert (again.end_request, again.end_receipt) == (asked.end_request, asked.end_receipt)
    assert again.requester_key == cloud.roster["ann"].key.public


def test_what_ended_of_late_is_told_and_what_ended_long_ago_is_not(cloud: Cloud) -> None:
    story = Story(cloud).until_settled()
    cloud.pass_s(2 * 86_400)
    restart(cloud, "ann")
    [order] = told(cloud, "ann")
    assert order.state == OrderState.SETTLED
    assert K.CHARGE_RECORD in kinds(order)
    assert story.state == OrderState.SETTLED
    cloud.pass_s(4 * 86_400)
    restart(cloud, "ann")
    assert told(cloud, "ann") == []


def test_a_providers_assets_count_again_from_their_first_version(cloud: Cloud) -> None:
    restart(cloud, "sun")
    assert set(states_of_assets(cloud).values()) == {AssetState.REMOVED}
    outlet = asset_of(cloud.roster, "sun-outlet", version=Number(1))
    cloud.say("sun", None, Inventory((outlet,), (OUTLET_TARIFF,)))
    assert states_of_assets(cloud)["sun-outlet"] is AssetState.AVAILABLE
    assert states_of_assets(cloud)["sun-battery"] is AssetState.REMOVED


def test_all_orders_of_an_account_are_listed_a_page_at_a_time(cloud: Cloud) -> None:
    ids = [OrderId(bytes([n]) * 16) for n in range(1, ACCOUNT_PAGE + 2)]
    for order_id in ids:
        Story(cloud, order=order_id).until_demanded()
    account, other = AccountId(cloud.roster["ann"].owner), AccountId(cloud.roster["ben"].owner)
    first = cloud.run(lambda work, now: account_orders(work, account, b"", now))
    rest = cloud.run(lambda work, now: account_orders(work, account, first[-1].order_id, now))
    assert len(first) == ACCOUNT_PAGE
    assert [order.order_id for order in (*first, *rest)] == ids
    assert cloud.run(lambda work, now: account_orders(work, other, b"", now)) == []


def states_of_assets(cloud: Cloud) -> dict[str, AssetState]:
    """The states of sun's assets as the cloud has them."""
    rows = cloud.readers.rows(select(t.assets).where(t.assets.c.provider_id == cloud.roster["sun"].id))
    return {row.name: AssetState(row.state) for row in rows}
