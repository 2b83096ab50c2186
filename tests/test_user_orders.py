"""A user's orders, message by message: what is believed of offers and vouchers, and what is paid in twice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from energyshare.bodies import GrantBody
from energyshare.charging import hold_of
from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.messages import Offer, VoucherRejected
from energyshare.records import replace
from energyshare.v1 import account_pb2
from energyshare.values import (
    Currency,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Minor,
    OrderId,
    PartKind,
    ProviderId,
    Role,
    UnixS,
    unix_s,
)
from energyshare.wire import peek, seal
from terminals.journal import Journal
from terminals.stream import Terminal
from terminals.user.wallet import Wallet
from tests.device.world import (
    DEVICE_GRANT,
    ISSUER,
    ISSUER_GRANT,
    OTHER,
    OTHER_GRANT,
    OWNER,
    PLATFORM_GRANT,
    ROOT,
    STRANGER,
    grant,
)
from tests.terminals_world import DEMAND, NOW, OTHER_ORDER, OUTLET, TARIFF, USER
from tests.user_world import User, voucher_message

OTHER_DEVICE = DeviceId(b"E" * 16)
ENDING_GRANT = seal(replace(peek(GrantBody, ISSUER_GRANT), not_after_unix_s=UnixS(unix_s(NOW) + 7_199)), ROOT).signed


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    made = User(tmp_path / "journal.db")
    yield made
    made.me.journal.close()


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


class AtTheTill(Wallet):
    """A user's wallet whose account service is a till."""

    def __init__(self, journal: Journal, till: Till) -> None:
        super().__init__(Terminal(USER, journal))
        self._till = till

    @asynccontextmanager
    async def _service(self) -> AsyncIterator[Any]:
        yield self._till


def pay(path: Path, till: Till, amount: int) -> int | str:
    """Pay in with a terminal that is opened for this; gives what is available, or the error's kind."""
    journal = Journal(path)
    try:
        return asyncio.run(AtTheTill(journal, till).top_up(Minor(amount))).available_minor
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
