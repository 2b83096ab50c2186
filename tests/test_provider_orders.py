"""A provider's orders, message by message: which voucher is issued, what evidence is kept, and when an end is confirmed."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from energyshare.bodies import (
    Asset,
    ChallengeBody,
    ChargeRecordBody,
    EndReceiptBody,
    EndRequestBody,
    PartHash,
    PresentationBody,
    ReadingBody,
    StartReceiptBody,
    VoucherBody,
)
from energyshare.messages import (
    ConfirmEnd,
    Declined,
    EndConfirmed,
    Ended,
    Message,
    NotSelected,
    OrderClosed,
    Reading,
    Settled,
    Started,
    Voucher,
)
from energyshare.records import replace
from energyshare.values import (
    ChargeBasis,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Instant,
    Minor,
    Number,
    OrderId,
    OrderState,
    PartKind,
    Role,
    later,
)
from energyshare.wire import digest_of, peek, seal
from terminals.link import Refusal
from terminals.provider.endings import LATE_S
from tests.device.world import (
    DEVICE,
    DEVICE_GRANT,
    DEVICE_KEY,
    HOLDER,
    ISSUER,
    OTHER,
    OWNER,
    PLATFORM,
    PLATFORM_GRANT,
    STRANGER,
    World,
    grant,
)
from tests.terminals_world import (
    BATTERY,
    CNY,
    NOW,
    NOWHERE,
    ORDER,
    OTHER_ORDER,
    OUTLET,
    Equipment,
    Provider,
    Wire,
    award,
    of,
)

UNTIL = later(NOW, 86_400)
OTHER_DEVICE = DeviceId(b"E" * 16)
Make = Callable[..., Provider]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes providers over one journal file; made again, it is the daemon that starts again."""
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


def equipment(tmp_path: Path, **changes: Any) -> World:
    (tmp_path / "device").mkdir()
    return Equipment(tmp_path / "device", **changes)


# Vouchers


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"more": -1}, "HOLD_MISMATCH"),
        ({"more": 1}, "HOLD_MISMATCH"),
        ({"offer_hash": Digest(b"?" * 32)}, "OFFER_UNKNOWN"),
        ({"order_id": OTHER_ORDER}, "OFFER_UNKNOWN"),
        ({"by": STRANGER}, "SIGNATURE_INVALID"),
    ],
)
def test_an_award_that_does_not_fit_its_offer_gets_no_voucher(make: Make, changes: dict[str, Any], reason: str) -> None:
    provider = make()
    offer = provider.offered()
    assert provider.tell(award(offer, **changes)) == []
    assert reason in provider.wire.failures
    assert (provider.document().state, provider.journal.part(ORDER, PartKind.SELECTION)) == ("OFFERED", None)
    assert len(of(Voucher, provider.tell(award(offer)))) == 1


def test_a_second_award_gets_no_second_voucher(make: Make) -> None:
    provider = make()
    offers = [provider.offered(), provider.offered()]
    assert len(of(Voucher, provider.tell(award(offers[0])))) == 1
    assert provider.tell(award(offers[0])) == []
    assert provider.tell(award(offers[1])) == []
    assert len(provider.journal.parts(ORDER, PartKind.VOUCHER)) == 1
    assert "OFFER_EXISTS" in provider.wire.failures


@pytest.mark.parametrize("seconds", [0, 1, -1, -86_400], ids=["at once", "later", "a second back", "a day back"])
def test_serials_rise_across_a_restart_and_a_clock_that_went_back(make: Make, seconds: int) -> None:
    before = make()
    first = before.authorized()
    before.journal.close()
    after = make(now=later(NOW, seconds))
    second = after.authorized(OTHER_ORDER)
    third = after.authorized(OrderId(b"\x03" * 16))
    assert first.serial < second.serial < third.serial


# Start receipts


def start_receipt(voucher: VoucherBody, device: DeviceId = DEVICE, **changes: Any) -> bytes:
    """A start receipt as the device would sign it for a voucher, with changes."""
    challenge = peek(ChallengeBody, changes.pop("challenge"))
    own = replace(challenge, device_id=device)
    digest = changes.pop("voucher_hash", seal(voucher, ISSUER).digest)
    presented = seal(PresentationBody(digest, device, challenge.nonce), HOLDER).signed
    honest = changes.pop("honest")
    body = replace(
        honest, device_id=device, challenge=seal(own, DEVICE_KEY).signed, presentation=presented, order_id=voucher.order_id
    )
    return seal(replace(body, **changes), DEVICE_KEY).signed


@pytest.mark.parametrize(
    ("changes", "foreign_grant", "reason"),
    [
        ({"order_id": OTHER_ORDER}, DEVICE_GRANT, "RECEIPT_FOREIGN"),
        ({"device": OTHER_DEVICE}, grant(OTHER_DEVICE, Role.DEVICE, DEVICE_KEY, OWNER), "RECEIPT_FOREIGN"),
        ({}, grant(DEVICE, Role.DEVICE, DEVICE_KEY, OTHER), "GRANT_OWNER"),
        ({"voucher_hash": Digest(b"?" * 32)}, DEVICE_GRANT, "RECEIPT_FOREIGN"),
    ],
    ids=["order", "device", "owner", "voucher"],
)
def test_a_foreign_start_receipt_is_not_kept_and_does_not_block_the_true_one(
    make: Make, device: World, changes: dict[str, Any], foreign_grant: bytes, reason: str
) -> None:
    provider = make()
    voucher = provider.authorized()
    true = device.start(voucher)
    honest = peek(StartReceiptBody, true)
    foreign = start_receipt(voucher, honest=honest, challenge=honest.challenge, **changes)
    provider.tell(Started(foreign, foreign_grant))
    assert reason in provider.wire.failures
    assert (provider.document().state, provider.journal.part(ORDER, PartKind.START_RECEIPT)) == ("AUTHORIZED", None)
    provider.tell(Started(true, DEVICE_GRANT))
    kept = provider.journal.part(ORDER, PartKind.START_RECEIPT)
    assert kept is not None
    assert (provider.document().state, kept.signed) == ("ACTIVE", true)


# Ends


def ended(device: World, voucher: VoucherBody) -> bytes:
    """Use a device for an hour; gives the end receipt."""
    device.start(voucher)
    for _ in range(4):
        device.pass_s(900)
    return device.release(voucher)


def confirm_end(end_receipt: bytes) -> ConfirmEnd:
    """What the cloud asks of the provider when the holder ended at the device."""
    request = EndRequestBody(ORDER, Digest(digest_of(EndReceiptBody, end_receipt)), NOW)
    return ConfirmEnd(seal(request, HOLDER).signed, end_receipt, UNTIL, DEVICE_GRANT)


def readings_of(device: World) -> tuple[bytes, ...]:
    [session] = device.machine.evidence(None, Number(0))
    return session.readings


def kinds(heard: list[Message]) -> list[type]:
    return [type(message) for message in heard]


def test_an_end_with_readings_missing_is_confirmed_once_they_were_fetched_and_said(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    end = ended(device, provider.authorized())
    assert provider.tell(confirm_end(end)) == []
    heard = provider.visit(device)
    assert kinds(heard) == [Reading, EndConfirmed]
    assert of(Reading, heard)[0].readings == readings_of(device)
    assert provider.visit(device) == []


def test_an_end_whose_device_stays_silent_is_confirmed_shortly_before_the_time_is_up(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    provider.tell(confirm_end(ended(device, provider.authorized())))
    provider.now = Instant(later(UNTIL, -LATE_S) - 1)
    assert provider.visit() == []
    provider.now = later(UNTIL, -LATE_S)
    assert kinds(provider.visit()) == [EndConfirmed]
    assert provider.visit() == []


def test_an_end_at_a_device_without_an_address_is_confirmed_at_once(make: Make, device: World) -> None:
    provider = make()
    end = ended(device, provider.authorized())
    assert readings_of(device)
    assert kinds(provider.tell(confirm_end(end))) == [EndConfirmed]


def test_an_end_with_all_readings_there_is_confirmed_at_once(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    end = ended(device, provider.authorized())
    provider.tell(Started(peek(EndReceiptBody, end).start_receipt, DEVICE_GRANT), Reading(readings_of(device), DEVICE_GRANT))
    assert kinds(provider.tell(confirm_end(end))) == [EndConfirmed]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"order_id": OTHER_ORDER}, "RECEIPT_FOREIGN"), ({"device_id": OTHER_DEVICE}, "GRANT_SUBJECT")],
)
def test_an_end_that_is_not_the_orders_is_never_confirmed(
    make: Make, device: World, changes: dict[str, Any], reason: str
) -> None:
    provider = make()
    true = ended(device, provider.authorized())
    foreign = seal(replace(peek(EndReceiptBody, true), **changes), DEVICE_KEY).signed
    assert provider.tell(confirm_end(foreign)) == []
    assert reason in provider.wire.failures
    assert provider.document().state == "AUTHORIZED"
    assert kinds(provider.tell(confirm_end(true))) == [EndConfirmed]


def test_the_end_of_another_order_at_the_same_device_is_never_confirmed(make: Make, device: World) -> None:
    provider = make()
    own, other = provider.authorized(), provider.authorized(OTHER_ORDER)
    provider.tell(Started(device.start(own), DEVICE_GRANT))
    device.release(own)
    assert provider.tell(confirm_end(ended(device, other))) == []
    assert "RECEIPT_FOREIGN" in provider.wire.failures
    assert provider.document().state == "ACTIVE"


def test_a_device_that_ended_by_itself_is_reported_without_a_confirmation(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    ended(device, provider.authorized())
    assert kinds(provider.visit(device)) == [Started, Reading, Ended]
    assert provider.visit(device) == []


# What fails leaves nothing said


def test_evidence_that_does_not_hold_leaves_nothing_said_and_journal_and_link_agree(make: Make, device: World) -> None:
    provider = make(address=NOWHERE)
    ended(device, provider.authorized())
    said_before = list(provider.wire.numbers)
    true = readings_of(device)
    _write_reading(device, 2, seal(replace(_body(true[1]), register_wh=EnergyWh(1)), STRANGER).signed)
    assert provider.visit(device) == []
    assert list(provider.journal.waiting()) == []
    assert not provider.terminal._link.has_news
    assert (provider.document().state, provider.journal.part(ORDER, PartKind.START_RECEIPT)) == ("AUTHORIZED", None)
    _write_reading(device, 2, true[1])
    assert kinds(provider.visit(device)) == [Started, Reading, Ended]
    last = said_before[-1]
    assert provider.wire.numbers[len(said_before) :] == [last + 1, last + 2, last + 3]


def test_what_was_said_in_a_transaction_that_fails_is_not_sent(make: Make) -> None:
    provider = make()
    provider.wire.listen()
    terminal = provider.terminal

    def say_and_fail() -> None:
        assert terminal.say(ORDER, Declined(OUTLET.asset_id, "UNDONE")) == 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), terminal.transaction():
        say_and_fail()
    with terminal.transaction():
        assert terminal.say(ORDER, Declined(OUTLET.asset_id, "SAID")) == 1
    assert [waiting.number for waiting in provider.journal.waiting()] == [1]
    assert provider.wire.listen() == [Declined(OUTLET.asset_id, "SAID")]


class SaysAndFails:
    """A handler that answers, and fails on what closes an order."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def handle(self, order_id: OrderId | None, message: Message) -> None:
        self._provider.terminal.say(order_id, Declined(OUTLET.asset_id, type(message).__name__))
        if isinstance(message, OrderClosed):
            raise ZeroDivisionError

    def refused(self, refusal: Refusal) -> None:
        raise AssertionError(refusal)


def test_the_answers_to_a_message_that_fails_are_undone_and_others_in_its_frame_stay(make: Make) -> None:
    provider = make()
    provider.wire.listen()
    wire = Wire(provider.terminal, SaysAndFails(provider))
    heard = wire.tell(ORDER, NotSelected(), OrderClosed(OrderState.EXPIRED, "NO_OFFERS"), NotSelected())
    assert heard == [Declined(OUTLET.asset_id, "NotSelected")] * 2
    assert wire.numbers == [1, 2]
    assert "ZeroDivisionError" in wire.failures


# Epochs


def test_an_epoch_learnt_from_a_checked_challenge_goes_into_the_next_voucher(make: Make, tmp_path: Path) -> None:
    provider = make(address=NOWHERE)
    assert provider.authorized().epoch == 1
    provider.survey(equipment(tmp_path, epoch=5))
    assert provider.authorized(OTHER_ORDER).epoch == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"grant": grant(DEVICE, Role.DEVICE, DEVICE_KEY, OTHER)},
        {"grant": grant(DEVICE, Role.DEVICE, STRANGER, OWNER)},
        {"grant": grant(DEVICE, Role.DEVICE, DEVICE_KEY, OWNER, root=STRANGER)},
        {"grant": grant(OTHER_DEVICE, Role.DEVICE, DEVICE_KEY, OWNER), "device": OTHER_DEVICE},
    ],
    ids=["another provider's", "another key", "another root", "another device of ours"],
)
def test_a_challenge_that_is_not_our_devices_is_not_believed(make: Make, tmp_path: Path, changes: dict[str, Any]) -> None:
    provider = make(address=NOWHERE)
    provider.survey(equipment(tmp_path, epoch=5, **changes))
    assert provider.authorized().epoch == 1


# Assets that come back


CLOSED = OrderClosed(OrderState.EXPIRED, "NOT_STARTED")


def settled(basis: ChargeBasis) -> Settled:
    """A charge record on a basis, as the platform signs it."""
    record = ChargeRecordBody(
        order_id=ORDER,
        kind=OUTLET.kind,
        provider_id=OWNER,
        currency=CNY,
        basis=basis,
        parts=(PartHash(PartKind.OFFER, Digest(b"o" * 32)),),
        start_time=NOW,
        duration_s=DurationS(0),
        energy_wh=EnergyWh(0),
        lines=(),
        excl_vat_minor=Minor(0),
        incl_vat_minor=Minor(0),
        deposit_claimed_minor=Minor(0),
        hold_minor=Minor(0),
        settled_time=NOW,
        corrects_hash=None,
    )
    return Settled(seal(record, PLATFORM).signed, PLATFORM_GRANT)


@pytest.mark.parametrize("asset", [OUTLET, BATTERY], ids=["outlet", "battery"])
@pytest.mark.parametrize("message", [CLOSED, settled(ChargeBasis.CAP)], ids=["closed", "settled at the cap"])
def test_an_asset_whose_voucher_was_out_is_told_again_once_its_device_is_found_free(
    make: Make, device: World, asset: Asset, message: Message
) -> None:
    provider = make(asset=asset, address=NOWHERE)
    voucher = provider.authorized()
    device.start(voucher)
    assert provider.tell(message) == []
    assert provider.versions(provider.survey(device)) == []
    device.release(voucher)
    assert provider.versions(provider.survey(device)) == [2]
    assert provider.versions(provider.survey(device)) == []


@pytest.mark.parametrize("message", [CLOSED, settled(ChargeBasis.CAP)], ids=["closed", "settled at the cap"])
def test_an_outlet_without_an_address_is_told_again_at_once(make: Make, message: Message) -> None:
    provider = make()
    provider.authorized()
    assert provider.versions(provider.tell(message)) == [2]


@pytest.mark.parametrize("message", [CLOSED, settled(ChargeBasis.CAP)], ids=["closed", "settled at the cap"])
def test_a_battery_without_an_address_is_not_told_again(make: Make, message: Message) -> None:
    provider = make(asset=BATTERY)
    provider.authorized()
    assert provider.tell(message) == []


def test_an_asset_is_not_told_again_when_its_session_was_read_or_no_voucher_was_out(make: Make) -> None:
    provider = make()
    provider.offered(OTHER_ORDER)
    assert provider.tell(CLOSED, order_id=OTHER_ORDER) == []
    provider.authorized()
    assert provider.tell(settled(ChargeBasis.END_RECEIPT)) == []
    assert provider.document().state == "SETTLED"
    assert provider.tell(CLOSED) == []


def _body(reading: bytes) -> Any:
    return peek(ReadingBody, reading)


def _write_reading(device: World, number: int, signed: bytes) -> None:
    with closing(sqlite3.connect(device.home / "memory.db")) as db, db:
        db.execute("UPDATE reading SET signed = ? WHERE number = ?", (signed, number))
