"""Vouchers that are called off: who cancels when, what is burned at the device, and what a second award gets."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energyshare.bodies import SerialClosedBody, VoucherBody
from energyshare.messages import (
    Award,
    Cancel,
    Declined,
    DemandNotice,
    Message,
    NotSelected,
    Offer,
    OrderClosed,
    SerialClosed,
    Started,
    Voucher,
    Withdrawn,
)
from energyshare.records import replace
from energyshare.values import Digest, OrderId, OrderState, PartKind, later
from energyshare.wire import decode_presentable, peek
from terminals.provider.config import Limits
from terminals.provider.orders import OrderDocument
from terminals.provider.stock import Stock
from tests.device.world import DEVICE_GRANT, ISSUER, ISSUER_GRANT, World, refused
from tests.provider_world import refusal
from tests.terminals_world import DEMAND, NOW, NOWHERE, ORDER, OTHER_ORDER, OUTLET, Provider, award, of

Make = Callable[..., Provider]
CANCEL = Cancel("CHANGED_MY_MIND")
CANCELLED = OrderClosed(OrderState.CANCELLED, "CHANGED_MY_MIND")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Provider] = []

    def one(**changes: Any) -> Provider:
        made.append(Provider(tmp_path / "journal.db", **changes))
        return made[-1]

    yield one
    for provider in made:
        provider.journal.close()


@pytest.fixture
def device(tmp_path: Path) -> World:
    (tmp_path / "device").mkdir()
    return World(tmp_path / "device")


def cancel(provider: Provider, order_id: OrderId = ORDER) -> list[Message]:
    with provider.orders.changing(order_id) as document:
        provider.orders.awards.cancel(order_id, document, "NO_STAFF")
    return provider.wire.listen()


def kinds(heard: list[Message]) -> list[type]:
    return [type(message) for message in heard]


# Cancelling


def test_a_voucher_that_the_user_called_off_is_burned_at_the_device_and_reported_once(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    voucher = provider.authorized()
    assert provider.tell(CANCEL) == []
    assert provider.visit() == []
    [closed] = provider.visit(device)
    assert isinstance(closed, SerialClosed)
    assert peek(SerialClosedBody, closed.statement).serial == voucher.serial
    assert provider.visit(device) == []
    assert provider.tell(CANCELLED) == []
    assert (provider.document().state, provider.document().burn) == ("CLOSED", [])
    with refused("VOUCHER_USED"):
        device.start(voucher)


def test_our_own_cancellation_is_said_at_once_and_the_voucher_burned_when_the_device_is_reached(
    make: Make, device: World
) -> None:
    provider = make(address=NOWHERE)
    provider.authorized()
    assert cancel(provider) == [Cancel("NO_STAFF")]
    assert cancel(provider) == []
    assert kinds(provider.visit(device)) == [SerialClosed]


def test_a_start_that_the_device_signed_wins_over_a_cancellation(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    device.start(provider.authorized())
    provider.tell(CANCEL)
    assert kinds(provider.visit(device))[0] is Started
    assert (provider.document().state, provider.document().burn) == ("ACTIVE", [])
    assert of(SerialClosed, provider.visit(device)) == []


def test_a_voucher_burned_by_the_users_phone_that_died_is_found_at_the_device(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    device.close(provider.authorized())
    assert kinds(provider.visit(device)) == [SerialClosed]
    assert provider.visit(device) == []


def test_a_statement_of_another_order_closes_nothing(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    own, other = provider.authorized(), provider.authorized(OTHER_ORDER)
    statement = device.close(other, ISSUER, ISSUER_GRANT)
    with refused("RECEIPT_FOREIGN"), provider.orders.changing(ORDER) as document:
        provider.orders.sessions.keep_closed(ORDER, document, statement, DEVICE_GRANT)
    assert provider.document().state == "AUTHORIZED"
    assert device.start(own)


@pytest.mark.parametrize("state", ["ACTIVE", "ENDING", "DISPUTED", "SETTLED", "CLOSED"])
def test_an_order_that_was_started_or_is_over_is_not_cancelled(make: Make, state: Any) -> None:
    provider = make()
    provider.authorized()
    _put(provider, state=state)
    with refused("WRONG_STATE"):
        cancel(provider)
    assert provider.tell(CANCEL) == []
    assert provider.document().burn == []


def test_offers_are_withdrawn_by_hand_and_cancelling_before_an_award_closes_the_order(make: Make) -> None:
    provider = make()
    provider.offered()
    with provider.orders.changing(ORDER) as document:
        provider.orders.awards.withdraw(ORDER, document)
    assert kinds(provider.wire.listen()) == [Withdrawn]
    with provider.orders.changing(ORDER) as document:
        provider.orders.awards.withdraw(ORDER, document)
    assert provider.wire.listen() == []
    assert cancel(provider) == [Cancel("NO_STAFF")]
    assert provider.document().state == "CLOSED"
    with refused("WRONG_STATE"), provider.orders.changing(ORDER) as document:
        provider.orders.awards.withdraw(ORDER, document)


def test_an_award_that_crosses_our_cancellation_gets_no_voucher(make: Make) -> None:
    provider = make()
    offer = provider.offered()
    cancel(provider)
    assert provider.tell(award(offer)) == []
    assert provider.journal.part(ORDER, PartKind.VOUCHER) is None


def test_an_award_of_an_offer_that_was_withdrawn_too_late_is_honoured(make: Make) -> None:
    provider = make()
    offer = provider.offered()
    with provider.orders.changing(ORDER) as document:
        provider.orders.awards.withdraw(ORDER, document)
    provider.wire.listen()
    assert kinds(provider.tell(award(offer))) == [Voucher]


def test_a_voucher_that_can_still_open_when_its_order_is_closed_is_burned_without_a_word(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    voucher = provider.authorized()
    assert provider.tell(CANCELLED) == []
    assert provider.visit(device) == []
    assert (provider.document().looked_through, provider.document().burn) == (True, [])
    with refused("VOUCHER_USED"):
        device.start(voucher)


def test_a_voucher_that_has_run_out_when_its_order_is_closed_is_looked_for_once_more(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    provider.authorized()
    provider.now = later(NOW, 8_000)
    assert provider.tell(CANCELLED) == []
    assert provider.visit() == []
    assert not provider.document().looked_through
    provider.survey(device)
    assert provider.document().looked_through


# A second award


def again(provider: Provider) -> Award:
    """An award for a second offer of the same order."""
    provider.now = later(provider.now, 1)
    notice = DemandNotice(replace(DEMAND, needed_by_time=later(NOW, 3_600)), (OUTLET.asset_id,), later(provider.now, 60))
    _put(provider, state="OFFERED")
    [offer] = of(Offer, provider.tell(notice))
    _put(provider, state="CLOSED")
    return award(offer.offer)


def test_after_a_voucher_that_came_too_late_another_offer_gets_another_serial_and_the_first_is_burned(
    make: Make, device: World
) -> None:
    provider = make(address=NOWHERE)
    first = provider.authorized()
    late = refusal(provider, "ORDER_MOVED_ON")
    assert provider.tell(NotSelected(), late) == []
    [second] = of(Voucher, provider.tell(again(provider)))
    voucher = peek(VoucherBody, decode_presentable(second.presentable).voucher)
    assert voucher.serial > first.serial
    assert provider.document().state == "AUTHORIZED"
    assert provider.visit(device) == []
    with refused("VOUCHER_USED"):
        device.start(first)
    device.start(voucher)
    assert kinds(provider.visit(device))[0] is Started


def test_the_same_selection_never_gets_a_second_voucher(make: Make) -> None:
    provider = make()
    offer = provider.offered()
    provider.tell(award(offer))
    provider.tell(NotSelected())
    assert provider.tell(award(offer)) == []
    assert "OFFER_EXISTS" in provider.wire.failures


def test_another_offer_was_selected_says_nothing_to_an_order_that_was_started(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    device.start(provider.authorized())
    provider.visit(device)
    provider.tell(NotSelected())
    assert provider.document().state == "ACTIVE"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["award", "again", "not selected", "cancel", "late", "closed", "back", "restart"]), max_size=12)
)
def test_no_two_vouchers_ever_bear_one_serial(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    path = tmp_path_factory.mktemp("provider") / "journal.db"
    provider = Provider(path)
    offer = provider.offered()
    for step in steps:
        match step:
            case "award":
                provider.tell(award(offer))
            case "again":
                provider.tell(again(provider))
            case "not selected":
                provider.tell(NotSelected())
            case "cancel":
                provider.tell(CANCEL)
            case "late":
                provider.tell(refusal(provider, "ORDER_MOVED_ON"))
            case "closed":
                provider.tell(CANCELLED)
            case "back":
                provider.now = later(provider.now, -3_600)
            case _:
                now = provider.now
                provider.journal.close()
                wire, provider = provider.wire, Provider(path, now=now)
                provider.wire.far, provider.wire.numbers = wire.far, wire.numbers
    vouchers = [peek(VoucherBody, part.signed) for part in provider.journal.parts(ORDER, PartKind.VOUCHER)]
    assert len({voucher.serial for voucher in vouchers}) == len(vouchers)
    provider.journal.close()


# Limits, hooks, prices that change


def test_a_user_with_too_many_open_orders_gets_a_cancellation_for_a_voucher(make: Make) -> None:
    provider = make()
    provider.orders.catalog = replace(provider.orders.catalog, limits=Limits(open_orders_per_user=1))
    provider.authorized()
    assert provider.tell(award(provider.offered(OTHER_ORDER)), order_id=OTHER_ORDER) == [Cancel("USER_LIMIT")]
    document = provider.document(OTHER_ORDER)
    assert (document.state, document.voucher, document.reason) == ("CLOSED", b"", "USER_LIMIT")
    provider.tell(CANCELLED)
    third = OrderId(b"\x03" * 16)
    assert kinds(provider.tell(award(provider.offered(third)), order_id=third)) == [Voucher]


@pytest.mark.parametrize(("reason", "heard"), [("ONLY_AT_NIGHT", Declined(OUTLET.asset_id, "ONLY_AT_NIGHT")), (None, Offer)])
def test_a_program_may_decline_a_demand_before_it_is_priced(make: Make, reason: str | None, heard: Any) -> None:
    provider = make()
    provider.wire.listen()
    provider.orders.awards._decide = lambda asset, demand: reason if asset == OUTLET else "UNKNOWN"
    notice = DemandNotice(DEMAND, (OUTLET.asset_id,), later(NOW, 60))
    [said] = provider.tell(notice)
    assert said == heard or type(said) is heard


def test_an_offer_made_before_a_price_change_is_awarded_at_its_own_price(make: Make) -> None:
    provider = make()
    offer = provider.offered()
    catalog = provider.orders.catalog
    dearer = next(iter(catalog.tariffs.values())).replace(b"1.20", b"9.99")
    changed = replace(OUTLET, tariff_hash=Digest(b"?" * 32))
    provider.orders.catalog = replace(catalog, assets={OUTLET.asset_id: changed}, tariffs={changed.tariff_hash: dearer})
    [voucher] = of(Voucher, provider.tell(award(offer)))
    body = peek(VoucherBody, decode_presentable(voucher.presentable).voucher)
    assert body.tariff_hash == OUTLET.tariff_hash


# Assets out of service


def test_an_asset_taken_out_of_service_withdraws_its_offers_declines_demands_and_stays_so_after_a_restart(make: Make) -> None:
    provider = make()
    provider.offered()
    with provider.terminal.transaction():
        provider.orders.stock.close(OUTLET.asset_id, "being cleaned")
        provider.orders.awards.withdraw_all(OUTLET)
    heard = provider.wire.listen()
    assert provider.versions(heard) == [2]
    assert len(of(Withdrawn, heard)) == 1
    notice = DemandNotice(DEMAND, (OUTLET.asset_id,), later(NOW, 60))
    assert provider.tell(notice, order_id=OTHER_ORDER) == [Declined(OUTLET.asset_id, "BEING_CLEANED")]
    after = Stock(provider.terminal, replace(provider.orders.catalog, assets={OUTLET.asset_id: OUTLET}))
    assert after.catalog.assets[OUTLET.asset_id].state.name == "OUT_OF_SERVICE"
    with provider.terminal.transaction():
        provider.orders.stock.open(OUTLET.asset_id)
    assert provider.versions(provider.wire.listen()) == [3]


def test_an_asset_is_named_with_or_without_its_station_and_only_when_one_is_meant(make: Make) -> None:
    stock = make().orders.stock
    assert stock.named("outlet-1") == stock.named("Depot/outlet-1")
    for name in ("outlet-2", "Depot", ""):
        with refused("NO_SUCH_ASSET"):
            stock.named(name)


def test_every_order_has_a_number_for_people_that_stays(make: Make) -> None:
    provider = make()
    provider.offered()
    provider.offered(OTHER_ORDER)
    provider.authorized()
    assert [provider.document(order_id).number for order_id in (ORDER, OTHER_ORDER)] == [1, 2]


def _put(provider: Provider, **changes: Any) -> OrderDocument:
    with provider.orders.changing(ORDER) as document:
        for name, value in changes.items():
            setattr(document, name, value)
    return document
