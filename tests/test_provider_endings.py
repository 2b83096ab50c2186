"""How orders end at the provider: who looks at an end, what is claimed of a deposit, which bill counts, what comes late."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from energyshare.bodies import (
    EndConfirmationBody,
    EndRefusalBody,
    EndRequestBody,
    NotReturnedBody,
    Part,
    PartHash,
    VoucherBody,
)
from energyshare.messages import (
    Dispute,
    EndConfirmed,
    Ended,
    EndRefused,
    Message,
    NotReturned,
    OrderClosed,
    Reading,
    Started,
)
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import ChargeBasis, Digest, Instant, Kind, Minor, Number, OrderState, PartKind, PublicKey, later
from energyshare.wire import peek, seal
from terminals.journal import PARTS_KEPT_S
from terminals.provider.config import Offers
from terminals.provider.endings import ASK_AGAIN_S, CLAIM_WITHIN_S, LATE_S, UNSEEN_S
from terminals.provider.orders import State
from tests.device.world import DEVICE_GRANT, HOLDER, ISSUER, STRANGER, World, refused
from tests.provider_world import UNTIL, bill, confirm_end, refusal, ruling
from tests.terminals_world import BATTERY, NOW, NOWHERE, ORDER, OTHER_ORDER, OUTLET, Provider, of

RENTED = replace(BATTERY, deposit_minor=Minor(20_000))
EXPIRED = OrderClosed(OrderState.EXPIRED, "NOT_STARTED")
Make = Callable[..., Provider]


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


@pytest.fixture
def lock(tmp_path: Path) -> World:
    (tmp_path / "lock").mkdir()
    return World(tmp_path / "lock", Kind.BATTERY, capacity_wh=2_000)


def kinds(heard: list[Message]) -> list[type]:
    return [type(message) for message in heard]


def ended(device: World, voucher: VoucherBody) -> bytes:
    device.start(voucher)
    device.pass_s(900)
    return device.release(voucher)


def claim(provider: Provider, claimed: int = 5_000, reason: str = "the housing is broken") -> list[Message]:
    with provider.orders.changing(ORDER) as document:
        provider.orders.endings.claim(ORDER, document, Minor(claimed), reason)
    return provider.wire.listen()


def not_returned(provider: Provider) -> list[Message]:
    with provider.orders.changing(ORDER) as document:
        provider.orders.endings.state_not_returned(ORDER, document)
    return provider.wire.listen()


def test_a_device_that_has_nothing_new_costs_no_write(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    device.start(provider.authorized())
    assert kinds(provider.visit(device)) == [Started, Reading]
    before = provider.journal._db.total_changes
    assert provider.visit(device) == []
    assert provider.journal._db.total_changes == before


def test_a_device_that_will_not_be_released_is_not_asked_again_at_once(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    device.start(provider.authorized())
    provider.visit(device)
    woken: list[bool] = []
    provider.orders.wake = lambda: woken.append(True)
    provider.tell(confirm_end(None))
    assert woken == [True]
    provider.visit()
    assert (provider.document().release_wanted, woken) == (True, [True])
    assert Ended in kinds(provider.visit(device))
    assert (provider.document().release_wanted, woken) == (False, [True])


# Looking at an end


def reviewing(make: Make, lock: World, review_s: int = 300) -> Provider:
    """A provider who takes time to look, asked to confirm the return of a battery whose readings it has."""
    provider = make(asset=RENTED, address=NOWHERE)
    provider.orders.use(Offers(review_s=review_s))
    end = ended(lock, provider.authorized())
    provider.visit(lock)
    assert provider.tell(confirm_end(end)) == []
    return provider


def test_an_end_is_confirmed_when_the_time_to_look_at_it_is_over(make: Make, lock: World) -> None:
    provider = reviewing(make, lock)
    provider.now = Instant(later(NOW, 300) - 1)
    assert provider.visit() == []
    provider.now = later(NOW, 300)
    assert kinds(provider.visit()) == [EndConfirmed]
    assert provider.visit() == []


def test_an_end_is_confirmed_at_once_when_a_person_says_so(make: Make, lock: World) -> None:
    provider = reviewing(make, lock)
    with provider.orders.changing(ORDER) as document:
        provider.orders.endings.confirm_now(ORDER, document)
    assert kinds(provider.wire.listen()) == [EndConfirmed]
    with refused("WRONG_STATE"), provider.orders.changing(ORDER) as document:
        provider.orders.endings.confirm_now(ORDER, document)


@pytest.mark.parametrize("claimed", [1, 5_000, 20_000])
def test_a_claim_up_to_the_deposit_is_signed_instead_of_a_confirmation_and_said_once(
    make: Make, lock: World, claimed: int
) -> None:
    provider = reviewing(make, lock)
    [said] = claim(provider, claimed)
    assert isinstance(said, EndRefused)
    body = peek(EndRefusalBody, said.refusal)
    assert (body.claimed_minor, body.reason, body.order_id) == (claimed, "the housing is broken", ORDER)
    provider.now = UNTIL
    assert provider.visit() == []
    with refused("WRONG_STATE"):
        claim(provider)


@pytest.mark.parametrize(
    ("claimed", "reason", "refused_as"),
    [
        (0, "x", "AMOUNT_NOT_POSITIVE"),
        (-1, "x", "AMOUNT_NOT_POSITIVE"),
        (20_001, "x", "CLAIM_ABOVE_DEPOSIT"),
        (1, "", "MALFORMED"),
        (1, "x" * 501, "MALFORMED"),
    ],
)
def test_a_claim_past_the_deposit_or_without_a_reason_is_refused_and_the_end_still_confirmed(
    make: Make, lock: World, claimed: int, reason: str, refused_as: str
) -> None:
    provider = reviewing(make, lock)
    with refused(refused_as):
        claim(provider, claimed, reason)
    provider.now = later(NOW, 300)
    assert kinds(provider.visit()) == [EndConfirmed]


@pytest.mark.parametrize("state", ["AUTHORIZED", "ACTIVE", "ENDING", "SETTLED", "DISPUTED", "CLOSED"])
def test_nothing_is_claimed_where_no_end_waits_for_an_answer(make: Make, state: State) -> None:
    provider = make(asset=RENTED)
    provider.authorized()
    with provider.orders.changing(ORDER) as document:
        document.state = state
    with refused("WRONG_STATE"):
        claim(provider)


def test_a_claim_waits_for_readings_and_is_signed_before_silence_settles(make: Make, lock: World) -> None:
    provider = make(asset=RENTED, address=NOWHERE)
    provider.orders.use(Offers(review_s=300))
    provider.tell(confirm_end(ended(lock, provider.authorized())))
    assert claim(provider) == []
    assert provider.visit() == []
    assert kinds(provider.visit(lock)) == [Reading, EndRefused]


def test_a_time_to_look_longer_than_the_cloud_gives_ends_before_silence(make: Make, lock: World) -> None:
    provider = reviewing(make, lock, review_s=540)
    with provider.orders.changing(ORDER) as document:
        document.confirm_until = later(NOW, 500)
    provider.now = later(NOW, 500 - LATE_S)
    assert kinds(provider.visit()) == [EndConfirmed]


def test_an_end_that_is_asked_for_twice_is_answered_once(make: Make, device: World) -> None:
    provider = make()
    end = ended(device, provider.authorized())
    assert kinds(provider.tell(confirm_end(end))) == [EndConfirmed]
    assert provider.tell(confirm_end(end)) == []
    provider.tell(bill())
    assert provider.tell(confirm_end(end)) == []
    assert provider.document().state == "SETTLED"


def test_what_is_confirmed_names_the_end_and_lowers_nothing(make: Make, device: World) -> None:
    provider = make()
    [said] = of(EndConfirmed, provider.tell(confirm_end(ended(device, provider.authorized()))))
    end = provider.journal.part(ORDER, PartKind.END_RECEIPT)
    assert end is not None
    assert peek(EndConfirmationBody, said.confirmation) == EndConfirmationBody(ORDER, end.digest, None)


# Ending from afar


@pytest.mark.parametrize(
    ("by", "requester", "is_released"),
    [
        (HOLDER, None, True),
        (STRANGER, STRANGER.public, True),
        (STRANGER, None, False),
        (HOLDER, STRANGER.public, False),
    ],
    ids=["holder", "another terminal of the account", "a stranger", "a key that did not sign"],
)
def test_a_device_is_released_for_whoever_of_the_account_asked(
    make: Make, device: World, by: SigningKey, requester: PublicKey | None, is_released: bool
) -> None:
    provider = make(address=NOWHERE)
    device.start(provider.authorized())
    provider.visit(device)
    provider.tell(confirm_end(None, by, requester))
    heard = provider.visit(device)
    assert (Ended in kinds(heard)) is is_released
    assert ("SIGNATURE_INVALID" in provider.wire.failures) is not is_released


def test_a_request_to_end_another_order_releases_nothing(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    device.start(provider.authorized())
    provider.tell(confirm_end(None, order_id=OTHER_ORDER))
    assert not provider.document().release_wanted


def test_an_end_of_an_order_without_a_voucher_is_refused(make: Make) -> None:
    provider = make()
    provider.offered()
    assert provider.tell(confirm_end(None)) == []
    assert "WRONG_STATE" in provider.wire.failures
    assert provider.document().state == "OFFERED"


# Batteries that stay away


def away(make: Make, lock: World, **changes: Any) -> Provider:
    """A battery that was taken out and is due back after two hours and an hour of grace."""
    provider = make(asset=replace(RENTED, **changes), address=NOWHERE)
    lock.start(provider.authorized())
    provider.visit(lock)
    assert provider.document().due_back == later(NOW, 7_200 + 3_600)
    return provider


DUE = later(NOW, 10_800)
CLAIM_AFTER_S = Offers().claim_after_s


@pytest.mark.parametrize(
    ("asked", "after_s", "is_said"),
    [
        (True, CLAIM_AFTER_S - 1, False),
        (True, CLAIM_AFTER_S, True),
        (False, CLAIM_AFTER_S, False),
        (False, UNSEEN_S - 1, False),
        (False, UNSEEN_S, True),
        (True, CLAIM_WITHIN_S, False),
    ],
)
def test_a_battery_is_said_not_to_have_come_back_when_its_lock_says_so_or_was_silent_for_long(
    make: Make, lock: World, asked: bool, after_s: int, is_said: bool
) -> None:
    provider = away(make, lock)
    provider.now = later(DUE, after_s)
    heard = provider.visit(lock if asked else None)
    assert (NotReturned in kinds(heard)) is is_said
    assert NotReturned not in kinds(provider.visit(lock if asked else None))


def test_it_is_also_said_after_the_charge_to_the_cap(make: Make, lock: World) -> None:
    provider = away(make, lock)
    provider.now = later(DUE, CLAIM_AFTER_S)
    provider.tell(bill(ChargeBasis.CAP))
    [said] = of(NotReturned, provider.survey(lock))
    assert peek(NotReturnedBody, said.statement) == NotReturnedBody(ORDER, provider.now)


def test_where_a_person_decides_nothing_is_claimed_by_itself(make: Make, lock: World) -> None:
    provider = away(make, lock)
    provider.orders.use(Offers(claim_unreturned=False))
    provider.now = later(DUE, CLAIM_AFTER_S)
    assert NotReturned not in kinds(provider.visit(lock))
    assert kinds(not_returned(provider)) == [NotReturned]


def test_without_a_deposit_nothing_is_claimed(make: Make, lock: World) -> None:
    provider = away(make, lock)
    provider.now = later(DUE, CLAIM_AFTER_S)
    with provider.orders.changing(ORDER) as document:
        document.deposit_minor = 0
    assert NotReturned not in kinds(provider.visit(lock))


def test_a_battery_that_came_back_is_not_missed(make: Make, lock: World) -> None:
    provider = away(make, lock)
    lock.release(peek(VoucherBody, provider.orders.sessions.signed_voucher(ORDER, provider.document().voucher)))
    provider.now = later(DUE, CLAIM_AFTER_S)
    assert Ended in kinds(provider.visit(lock))
    provider.now = later(DUE, UNSEEN_S)
    assert NotReturned not in kinds(provider.visit(lock))
    with refused("WRONG_STATE"):
        not_returned(provider)


def test_by_hand_it_is_said_from_the_due_time_on_and_once(make: Make, lock: World) -> None:
    provider = away(make, lock)
    provider.now = Instant(DUE - 1)
    with refused("NOT_OVERDUE"):
        not_returned(provider)
    provider.now = DUE
    assert kinds(not_returned(provider)) == [NotReturned]
    with refused("WRONG_STATE"):
        not_returned(provider)


def test_a_statement_that_is_too_early_by_the_clouds_clock_is_made_anew_later(make: Make, lock: World) -> None:
    provider = away(make, lock)
    provider.now = DUE
    not_returned(provider)
    provider.tell(refusal(provider, "NOT_OVERDUE"))
    assert NotReturned not in kinds(provider.visit(lock))
    provider.now = later(DUE, ASK_AGAIN_S + CLAIM_AFTER_S)
    assert NotReturned in kinds(provider.visit(lock))


def test_an_outlet_is_never_missed(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    device.start(provider.authorized())
    provider.visit(device)
    provider.now = later(DUE, UNSEEN_S)
    with refused("WRONG_STATE"):
        not_returned(provider)
    assert NotReturned not in kinds(provider.visit(device))


# Bills


def test_the_latest_bill_counts_and_all_are_kept(make: Make) -> None:
    provider = make()
    provider.authorized()
    provider.tell(bill(total=1_000, disputed=300))
    assert (provider.document().state, provider.document().disputed_minor) == ("DISPUTED", 300)
    provider.tell(ruling(150), bill(ChargeBasis.RULING, total=850, corrects_hash=Digest(b"r" * 32)))
    document = provider.document()
    assert (document.state, document.total_minor, document.disputed_minor, document.basis) == ("SETTLED", 850, 0, "RULING")
    assert document.ruling is not None
    assert document.ruling.charged_minor == 150
    assert len(provider.journal.parts(ORDER, PartKind.CHARGE_RECORD)) == 2


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (bill(by=STRANGER), "SIGNATURE_INVALID"),
        (replace(bill(), platform_grant=DEVICE_GRANT), "GRANT_ROLE"),
        (bill(order_id=OTHER_ORDER), "RECEIPT_FOREIGN"),
        (ruling(by=STRANGER), "SIGNATURE_INVALID"),
        (ruling(by=ISSUER), "SIGNATURE_INVALID"),
        (ruling(order_id=OTHER_ORDER), "RECEIPT_FOREIGN"),
    ],
)
def test_bills_and_rulings_that_the_platform_did_not_sign_for_this_order_count_for_nothing(
    make: Make, message: Message, reason: str
) -> None:
    provider = make()
    provider.authorized()
    assert provider.tell(message) == []
    assert reason in provider.wire.failures
    document = provider.document()
    assert (document.state, document.total_minor, document.ruling) == ("AUTHORIZED", 0, None)


@pytest.mark.parametrize("state", ["ASKED", "OFFERED", "AUTHORIZED", "ACTIVE", "ENDING", "DISPUTED", "SETTLED", "CLOSED"])
def test_a_dispute_is_noted_once_there_is_a_bill(make: Make, state: State) -> None:
    provider = make()
    provider.authorized()
    with provider.orders.changing(ORDER) as document:
        document.state = state
    assert provider.tell(Dispute(Digest(b"r" * 32), Minor(40), "too much")) == []
    document = provider.document()
    if state in ("SETTLED", "DISPUTED"):
        assert document.dispute is not None
        assert (document.state, document.disputed_minor, document.dispute.reason) == ("DISPUTED", 40, "too much")
    else:
        assert (document.state, document.dispute) == (state, None)


def test_an_end_receipt_that_comes_with_a_bill_is_kept_when_a_device_of_ours_signed_it(make: Make, lock: World) -> None:
    provider = make(asset=RENTED)
    end = ended(lock, provider.authorized())
    parts = (Part(PartKind.END_RECEIPT, end), Part(PartKind.DEVICE_GRANT, DEVICE_GRANT))
    assert provider.versions(provider.tell(bill(parts=parts))) == [2]
    assert provider.document().ended


def test_the_parts_that_a_bill_names_are_kept_when_they_come_along_and_no_others(make: Make) -> None:
    provider = make()
    provider.authorized()
    signed = seal(EndRequestBody(ORDER, None, NOW), HOLDER)
    request, other = Part(PartKind.END_REQUEST, signed.signed), Part(PartKind.END_CONFIRMATION, signed.signed)
    named = bill(parts=(request, other), named=(PartHash(PartKind.END_REQUEST, signed.digest),))
    provider.tell(named)
    assert provider.journal.part(ORDER, PartKind.END_REQUEST) is not None
    assert provider.journal.part(ORDER, PartKind.END_CONFIRMATION) is None


def test_a_bill_that_comes_with_a_forged_end_receipt_is_kept_without_it(make: Make, lock: World) -> None:
    provider = make(asset=RENTED)
    end = bytearray(ended(lock, provider.authorized()))
    end[-20] ^= 1
    parts = (Part(PartKind.END_RECEIPT, bytes(end)), Part(PartKind.DEVICE_GRANT, DEVICE_GRANT))
    assert provider.tell(bill(parts=parts)) == []
    assert (provider.document().state, provider.document().ended) == ("SETTLED", False)


# What comes late


@pytest.mark.parametrize("over", [EXPIRED, OrderClosed(OrderState.CANCELLED, "CHANGED_MY_MIND")], ids=["expired", "cancelled"])
def test_a_start_that_is_found_after_the_order_was_closed_is_reported_and_the_order_goes_on(
    make: Make, device: World, over: OrderClosed
) -> None:
    provider = make(address=NOWHERE)
    voucher = provider.authorized()
    device.start(voucher)
    provider.now = later(NOW, 2 * 86_400)
    provider.tell(over)
    heard = provider.survey(device)
    assert kinds(heard)[0] is Started
    assert provider.document().state == "ACTIVE"
    device.release(voucher)
    assert Ended in kinds(provider.visit(device))
    assert provider.visit(device) == []


def test_a_start_relayed_after_the_order_was_closed_makes_it_go_on(make: Make, device: World) -> None:
    provider = make()
    receipt = device.start(provider.authorized())
    provider.tell(EXPIRED, Started(receipt, DEVICE_GRANT))
    assert provider.document().state == "ACTIVE"


def test_a_late_start_that_the_cloud_refuses_is_not_said_again(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    device.start(provider.authorized())
    provider.now = later(NOW, 2 * 86_400)
    provider.tell(EXPIRED)
    heard = provider.survey(device)
    assert kinds(heard)[0] is Started
    start_number = Number(provider.wire.numbers[-len(heard)])
    provider.tell(replace(refusal(provider, "ORDER_MOVED_ON"), number=start_number))
    assert provider.document().state == "CLOSED"
    assert of(Started, provider.survey(device) + provider.visit(device)) == []


def test_an_end_found_after_the_charge_on_the_last_reading_is_reported_once(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    voucher = provider.authorized()
    device.start(voucher)
    provider.visit(device)
    provider.tell(bill(ChargeBasis.LAST_READING))
    device.release(voucher)
    assert provider.visit(device) == []
    assert Ended in kinds(provider.survey(device))
    assert provider.document().state == "SETTLED"
    assert of(Ended, provider.survey(device)) == []


def test_devices_are_not_asked_for_ever(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    device.start(provider.authorized())
    provider.visit(device)
    provider.tell(bill(ChargeBasis.LAST_READING))
    provider.now = later(NOW, PARTS_KEPT_S + 1)
    provider.survey(device)
    assert [key for key, _ in provider.journal.documents("left-behind")] == []


def test_messages_that_are_not_for_a_provider_change_nothing(make: Make) -> None:
    provider = make()
    provider.authorized()
    before = provider.journal.document("order", ORDER)
    assert provider.tell(Ended(b"x", b"y"), EndConfirmed(b"x")) == []
    assert provider.journal.document("order", ORDER) == before
    assert provider.asset == OUTLET
