"""A user's orders, message by message: what is believed of offers, vouchers and bills, and what is paid in twice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from energyshare.bodies import (
    ChargeRecordBody,
    EndConfirmationBody,
    EndReceiptBody,
    GrantBody,
    OfferBody,
    PartHash,
    ReadingBody,
    SelectionBody,
    StartReceiptBody,
    VoucherBody,
)
from energyshare.charging import Evidence, charge, hold_of
from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.messages import Demand, Message, Offer, Reading, Selection, Settled, Started, Voucher, VoucherRejected
from energyshare.v1 import account_pb2
from energyshare.values import (
    ChargeBasis,
    Currency,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Minor,
    Number,
    OrderId,
    PartKind,
    ProviderId,
    Role,
    Serial,
    UnixS,
    later,
    unix_s,
)
from energyshare.wire import Presentable, digest_of, encode_presentable, peek, seal
from terminals.journal import Journal
from terminals.stream import Terminal
from terminals.user.orders import UserOrder
from terminals.user.terminal import UserTerminal
from tests.device.world import (
    DEVICE,
    DEVICE_GRANT,
    HOLDER,
    ISSUER,
    ISSUER_GRANT,
    OTHER,
    OTHER_GRANT,
    OWNER,
    PLATFORM,
    PLATFORM_GRANT,
    ROOT,
    STRANGER,
    World,
    grant,
)
from tests.terminals_world import CNY, DEMAND, NOW, OTHER_ORDER, OUTLET, TARIFF, USER, Wire, of

OTHER_DEVICE = DeviceId(b"E" * 16)
ENDING_GRANT = seal(replace(peek(GrantBody, ISSUER_GRANT), not_after_unix_s=UnixS(unix_s(NOW) + 7_199)), ROOT).signed


class User:
    """A user's terminal whose only order is demanded."""

    def __init__(self, path: Path) -> None:
        self.me = UserTerminal(USER, Journal(path), lambda: NOW)
        self.wire = Wire(self.me._terminal, self.me._orders)
        self.order_id = self.me.demand(DEMAND)
        assert [type(message) for message in self.wire.listen()] == [Demand]

    @property
    def order(self) -> UserOrder:
        return self.me.order(self.order_id)

    def tell(self, *messages: Message) -> list[Message]:
        return self.wire.tell(self.order_id, *messages)

    def offer(self, **changes: Any) -> OfferBody:
        """What the provider offers, with changes."""
        body = OfferBody(
            order_id=self.order_id,
            provider_id=OWNER,
            asset=OUTLET,
            tariff=TARIFF,
            currency=CNY,
            energy_wh_max=EnergyWh(2_000),
            duration_s_max=DurationS(7_200),
            return_grace_s=DurationS(0),
            estimate=(),
            estimate_excl_vat_minor=Minor(0),
            estimate_incl_vat_minor=Minor(0),
            voucher_not_after_time=later(NOW, 7_200),
            expiry_time=later(NOW, 600),
        )
        return replace(body, **changes)

    def selected(self) -> bytes:
        """Take the order as far as its selection; gives the signed selection."""
        self.tell(Offer(seal(self.offer(), ISSUER).signed, ISSUER_GRANT))
        self.me.select(self.order_id, 1)
        [selection] = of(Selection, self.wire.listen())
        return selection.selection

    def voucher(self, **changes: Any) -> VoucherBody:
        """What the provider issues for the offer, with changes."""
        body = VoucherBody(
            order_id=self.order_id,
            device_id=DEVICE,
            holder_key=HOLDER.public,
            energy_wh_max=EnergyWh(2_000),
            duration_s_max=DurationS(7_200),
            not_before_unix_s=unix_s(NOW),
            window_s=DurationS(7_200),
            serial=Serial(1),
            epoch=Epoch(1),
            tariff_hash=OUTLET.tariff_hash,
        )
        return replace(body, **changes)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    made = User(tmp_path / "journal.db")
    yield made
    made.me.journal.close()


def voucher_message(body: VoucherBody, key: Any = ISSUER, issuer_grant: bytes = ISSUER_GRANT) -> Voucher:
    return Voucher(encode_presentable(Presentable(seal(body, key).signed, issuer_grant)))


# Offers


@pytest.mark.parametrize(
    "changes",
    [
        {"asset": replace(OUTLET, tariff_hash=Digest(b"?" * 32))},
        {"tariff": TARIFF.replace(b"1.20", b"0.20")},
        {"order_id": OTHER_ORDER},
        {"currency": Currency("EUR")},
        {"provider_id": ProviderId(OTHER)},
    ],
    ids=["tariff hash", "tariff", "order", "currency", "provider"],
)
def test_an_offer_that_does_not_hold_is_not_taken(user: User, changes: dict[str, Any]) -> None:
    user.tell(Offer(seal(user.offer(**changes), ISSUER).signed, ISSUER_GRANT))
    _require_no_offer(user)


@pytest.mark.parametrize(
    "foreign",
    [OTHER_GRANT, DEVICE_GRANT, PLATFORM_GRANT, grant(OWNER, Role.ISSUER, ISSUER, root=STRANGER), b"\x0a\x01?"],
    ids=["another provider's", "a device's", "the platform's", "another root's", "no grant"],
)
def test_an_offer_under_a_grant_that_is_not_its_issuers_is_not_taken(user: User, foreign: bytes) -> None:
    user.tell(Offer(seal(user.offer(), ISSUER).signed, foreign))
    _require_no_offer(user)


def test_an_offer_signed_by_another_is_not_taken(user: User) -> None:
    user.tell(Offer(seal(user.offer(), STRANGER).signed, ISSUER_GRANT))
    _require_no_offer(user)


def _require_no_offer(user: User) -> None:
    assert user.order.offers == []
    assert user.order.declined[0].startswith("an offer does not hold")
    assert user.me.journal.parts(user.order_id, PartKind.OFFER) == []
    with pytest.raises(Rejected, match="offer"):
        user.me.select(user.order_id, 1)
    user.tell(Offer(seal(user.offer(), ISSUER).signed, ISSUER_GRANT))
    assert [line.hold_minor for line in user.order.offers] == [hold_of(user.offer())]


# Vouchers


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"order_id": OTHER_ORDER}, "VOUCHER_ORDER"),
        ({"holder_key": STRANGER.public}, "VOUCHER_HOLDER"),
        ({"device_id": OTHER_DEVICE}, "VOUCHER_DEVICE"),
        ({"energy_wh_max": EnergyWh(1_999)}, "VOUCHER_CAPS"),
        ({"duration_s_max": DurationS(7_201)}, "VOUCHER_CAPS"),
        ({"tariff_hash": Digest(b"?" * 32)}, "VOUCHER_TARIFF"),
        ({"window_s": DurationS(7_201)}, "VOUCHER_WINDOW"),
    ],
)
def test_a_voucher_that_is_not_the_selected_offers_is_rejected(user: User, changes: dict[str, Any], reason: str) -> None:
    user.selected()
    assert user.tell(voucher_message(user.voucher(**changes))) == [VoucherRejected(reason)]
    _require_no_voucher(user)


@pytest.mark.parametrize(
    ("key", "issuer_grant", "reason"),
    [
        (STRANGER, OTHER_GRANT, "GRANT_SUBJECT"),
        (STRANGER, ISSUER_GRANT, "SIGNATURE_INVALID"),
        (ISSUER, DEVICE_GRANT, "GRANT_ROLE"),
        (ISSUER, ENDING_GRANT, "GRANT_EXPIRED"),
        (ISSUER, grant(OWNER, Role.ISSUER, ISSUER, root=STRANGER), "GRANT_INVALID"),
    ],
)
def test_a_voucher_under_a_grant_that_does_not_carry_it_is_rejected(
    user: User, key: Any, issuer_grant: bytes, reason: str
) -> None:
    user.selected()
    assert user.tell(voucher_message(user.voucher(), key, issuer_grant)) == [VoucherRejected(reason)]
    _require_no_voucher(user)


def _require_no_voucher(user: User) -> None:
    assert (user.order.state, user.order.presentable) == ("SELECTED", None)
    assert user.me.journal.part(user.order_id, PartKind.VOUCHER) is None
    assert user.tell(voucher_message(user.voucher())) == []
    assert user.order.state == "AUTHORIZED"


# Bills


def story(user: User, device: World) -> tuple[ChargeRecordBody, bytes, bytes]:
    """Take an order as far as its end; gives the true record, the end receipt and its confirmation."""
    selection = user.selected()
    voucher = user.voucher()
    user.tell(voucher_message(voucher))
    start = device.start(voucher)
    for _ in range(2):
        device.pass_s(900)
    end = device.release(voucher)
    [session] = device.machine.evidence(None, Number(0))
    user.tell(Started(start, DEVICE_GRANT), Reading(session.readings, DEVICE_GRANT))
    confirmation = seal(EndConfirmationBody(user.order_id, _hash(EndReceiptBody, end), None), ISSUER).signed
    hashes = {
        PartKind.OFFER: _hash(OfferBody, seal(user.offer(), ISSUER).signed),
        PartKind.SELECTION: _hash(SelectionBody, selection),
        PartKind.VOUCHER: _hash(VoucherBody, seal(voucher, ISSUER).signed),
        PartKind.ISSUER_GRANT: _grant_hash(ISSUER_GRANT),
        PartKind.DEVICE_GRANT: _grant_hash(DEVICE_GRANT),
        PartKind.START_RECEIPT: _hash(StartReceiptBody, start),
        PartKind.READING: _hash(ReadingBody, session.readings[-1]),
        PartKind.END_RECEIPT: _hash(EndReceiptBody, end),
        PartKind.END_CONFIRMATION: _hash(EndConfirmationBody, confirmation),
    }
    started, over = peek(StartReceiptBody, start), peek(EndReceiptBody, end)
    readings = tuple(peek(ReadingBody, reading) for reading in session.readings)
    evidence = Evidence(user.offer(), voucher, started, readings, over)
    charged = charge(evidence, ChargeBasis.END_RECEIPT, started.start_time)
    record = ChargeRecordBody(
        order_id=user.order_id,
        kind=OUTLET.kind,
        provider_id=OWNER,
        currency=CNY,
        basis=charged.basis,
        parts=tuple(PartHash(kind, hashed) for kind, hashed in hashes.items()),
        start_time=charged.start_time,
        duration_s=charged.duration_s,
        energy_wh=charged.energy_wh,
        lines=charged.lines,
        excl_vat_minor=charged.excl_vat_minor,
        incl_vat_minor=charged.incl_vat_minor,
        deposit_claimed_minor=Minor(0),
        hold_minor=hold_of(user.offer()),
        settled_time=over.end_time,
        corrects_hash=None,
    )
    return record, end, confirmation


def _hash(cls: Any, signed: bytes) -> Digest:
    return Digest(digest_of(cls, signed))


def _grant_hash(signed: bytes) -> Digest:
    return _hash(GrantBody, signed)


@pytest.fixture
def device(tmp_path: Path) -> World:
    (tmp_path / "device").mkdir()
    return World(tmp_path / "device")


def test_a_bill_that_follows_from_the_evidence_is_proved(user: User, device: World) -> None:
    record, end, confirmation = story(user, device)
    assert record.incl_vat_minor > 0
    user.tell(Settled(seal(record, PLATFORM).signed, PLATFORM_GRANT, confirmation, None, end, DEVICE_GRANT))
    order = user.order
    assert (order.state, order.proved, order.unproved_reason) == ("SETTLED", True, "")
    assert order.total_minor == record.incl_vat_minor


@pytest.mark.parametrize(
    "changes",
    [
        {"incl_vat_minor": Minor(1_000)},
        {"energy_wh": EnergyWh(501)},
        {"duration_s": DurationS(1_801)},
        {"hold_minor": Minor(1)},
        {"basis": ChargeBasis.LAST_READING},
        {"parts": (PartHash(PartKind.OFFER, Digest(b"?" * 32)),)},
        {"provider_id": ProviderId(OTHER)},
        {"settled_time": Instant(NOW * 2)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_bill_that_does_not_follow_from_the_evidence_is_marked(user: User, device: World, changes: dict[str, Any]) -> None:
    record, end, confirmation = story(user, device)
    altered = seal(replace(record, **changes), PLATFORM).signed
    user.tell(Settled(altered, PLATFORM_GRANT, confirmation, None, end, DEVICE_GRANT))
    assert (user.order.state, user.order.proved) == ("SETTLED", False)
    assert user.order.unproved_reason


def test_a_bill_without_its_confirmation_is_marked(user: User, device: World) -> None:
    record, end, _ = story(user, device)
    user.tell(Settled(seal(record, PLATFORM).signed, PLATFORM_GRANT, None, None, end, DEVICE_GRANT))
    assert (user.order.state, user.order.proved) == ("SETTLED", False)


@pytest.mark.parametrize(("key", "platform_grant"), [(STRANGER, PLATFORM_GRANT), (ISSUER, ISSUER_GRANT)])
def test_a_bill_that_the_platform_did_not_sign_settles_nothing(
    user: User, device: World, key: Any, platform_grant: bytes
) -> None:
    record, end, confirmation = story(user, device)
    user.tell(Settled(seal(record, key).signed, platform_grant, confirmation, None, end, DEVICE_GRANT))
    assert (user.order.state, user.order.total_minor) == ("ACTIVE", None)
    user.tell(Settled(seal(record, PLATFORM).signed, PLATFORM_GRANT, confirmation, None, end, DEVICE_GRANT))
    assert (user.order.state, user.order.proved) == ("SETTLED", True)


# Paying in


class Till:
    """Stands for the account service: gives the answers that it was given, and keeps the request ids."""

    def __init__(self, *answers: Exception | int) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[bytes, int]] = []

    async def TopUp(self, paid: account_pb2.TopUpRequest, **_: float) -> account_pb2.TopUpResponse:  # noqa: N802
        self.asked.append((paid.request_id, paid.amount_minor))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return account_pb2.TopUpResponse(available_minor=answer)


class AtTheTill(UserTerminal):
    """A user's terminal whose account service is a till."""

    def __init__(self, journal: Journal, till: Till) -> None:
        super().__init__(USER, journal, lambda: NOW)
        self._till = till

    def _account(self) -> AbstractAsyncContextManager[Any]:  # type: ignore[override]
        @asynccontextmanager
        async def at_once() -> AsyncIterator[Till]:
            yield self._till

        return at_once()


def pay(path: Path, till: Till, amount: int) -> int | str:
    """Pay in with a terminal that is opened for this; gives what is available, or the error's kind."""
    journal = Journal(path)
    try:
        return asyncio.run(AtTheTill(journal, till).top_up(Minor(amount)))
    except (Unavailable, Rejected) as error:
        return type(error).__name__
    finally:
        journal.close()


def lost() -> Exception:
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "gone")


def test_a_top_up_whose_answer_was_lost_repeats_with_the_same_request_id(tmp_path: Path) -> None:
    till = Till(lost(), lost(), 500, 1_000)
    done = [pay(tmp_path / "journal.db", till, 500) for _ in range(4)]
    assert done == ["Unavailable", "Unavailable", 500, 1_000]
    first, second, third, fourth = (request for request, _ in till.asked)
    assert first == second == third != fourth


def test_a_top_up_that_was_refused_does_not_repeat_its_request_id(tmp_path: Path) -> None:
    till = Till(Rejected(Reason.AMOUNT_TOO_LARGE), 500)
    assert [pay(tmp_path / "journal.db", till, 500) for _ in range(2)] == ["Rejected", 500]
    assert till.asked[0][0] != till.asked[1][0]


def test_a_lost_top_up_does_not_lend_its_request_id_to_another_amount(tmp_path: Path) -> None:
    till = Till(lost(), 700, 1_200)
    assert [pay(tmp_path / "journal.db", till, amount) for amount in (500, 700, 500)] == ["Unavailable", 700, 1_200]
    requests = [request for request, _ in till.asked]
    assert requests[0] == requests[2] != requests[1]


# A commit that fails


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Journal]:
    """A journal whose commit fails when `orphan` has a row: its reference is checked at the commit."""
    journal = Journal(tmp_path / "journal.db")
    journal._db.execute("PRAGMA foreign_keys=ON")
    journal._db.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    journal._db.execute("CREATE TABLE orphan (of INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    yield journal
    journal.close()


def test_a_commit_that_fails_leaves_the_journal_usable_and_nothing_said(failing: Journal) -> None:
    terminal = Terminal(USER, failing)
    order_id = OrderId(b"\x01" * 16)

    def say_what_can_not_be_committed() -> None:
        terminal.say(order_id, DEMAND)
        failing.put_document("order", order_id, b"undone")
        failing._db.execute("INSERT INTO orphan VALUES (1)")

    with pytest.raises(sqlite3.IntegrityError), terminal.transaction():
        say_what_can_not_be_committed()
    assert (failing.document("order", order_id), list(failing.waiting())) == (None, [])
    assert not terminal._link.has_news
    with terminal.transaction():
        assert terminal.say(order_id, DEMAND) == 1
    assert [waiting.number for waiting in failing.waiting()] == [1]
    assert terminal._link.said == 1
