"""A user's bills: which one counts, what is believed of it, and what is disputed by whom."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from energyshare.bodies import (
    ChargeRecordBody,
    EndConfirmationBody,
    EndReceiptBody,
    GrantBody,
    OfferBody,
    Part,
    PartHash,
    ReadingBody,
    RulingBody,
    SelectionBody,
    SilenceDecisionBody,
    StartReceiptBody,
    VoucherBody,
)
from energyshare.charging import Evidence, charge, hold_of
from energyshare.errors import Rejected
from energyshare.messages import Dispute, Message, Reading, RejectedMessage, Ruling, Settled, Started
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import (
    ChargeBasis,
    Digest,
    DurationS,
    EnergyWh,
    Instant,
    Minor,
    Number,
    PartKind,
    ProviderId,
    Role,
    later,
)
from energyshare.wire import peek, seal
from terminals.user import payment
from tests.device.world import (
    DEVICE_GRANT,
    ISSUER,
    ISSUER_GRANT,
    OTHER,
    OWNER,
    PLATFORM,
    PLATFORM_GRANT,
    ROOT,
    STRANGER,
    World,
    grant,
    key,
)
from tests.terminals_world import CNY, NOW, OTHER_ORDER, OUTLET, of
from tests.user_world import User, hash_of, settled_parts

NEXT_PLATFORM = key("platform, renewed")
NEXT_GRANT = grant(b"C" * 16, Role.PLATFORM, NEXT_PLATFORM)


@dataclass
class Ended:
    """An order that was ended, and what the platform may say of it."""

    user: User
    record: ChargeRecordBody
    end: bytes
    confirmation: bytes
    others: list[Part] = field(default_factory=list)

    def settled(
        self, disputed_minor: int = 0, by: SigningKey = PLATFORM, by_grant: bytes = PLATFORM_GRANT, **changes: Any
    ) -> Settled:
        """The message that brings the record with changes, and all parts."""
        signed = seal(replace(self.record, **changes), by).signed
        parts = (*settled_parts(self.confirmation, self.end), *self.others)
        return Settled(signed, by_grant, parts, Minor(disputed_minor))

    def hash_of_record(self, **changes: Any) -> Digest:
        """The hash of the record with changes."""
        return seal(replace(self.record, **changes), PLATFORM).digest

    def tell(self, *messages: Message) -> list[Message]:
        """Have messages delivered; gives the answers."""
        return self.user.tell(*messages)


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[Ended]:
    (tmp_path / "device").mkdir()
    user = User(tmp_path / "journal.db")
    yield story(user, World(tmp_path / "device"))
    user.me.journal.close()


def story(user: User, device: World) -> Ended:
    """Take an order as far as its end, with the record that follows from it."""
    voucher = user.authorized()
    [selection] = user.parts(PartKind.SELECTION)
    start = device.start(voucher)
    for _ in range(2):
        device.pass_s(900)
    end = device.release(voucher)
    [session] = device.machine.evidence(None, Number(0))
    user.tell(Started(start, DEVICE_GRANT), Reading(session.readings, DEVICE_GRANT))
    confirmation = seal(EndConfirmationBody(user.order_id, hash_of(EndReceiptBody, end), None), ISSUER).signed
    hashes = {
        PartKind.OFFER: hash_of(OfferBody, seal(user.offer(), ISSUER).signed),
        PartKind.SELECTION: hash_of(SelectionBody, selection),
        PartKind.VOUCHER: hash_of(VoucherBody, seal(voucher, ISSUER).signed),
        PartKind.ISSUER_GRANT: hash_of(GrantBody, ISSUER_GRANT),
        PartKind.DEVICE_GRANT: hash_of(GrantBody, DEVICE_GRANT),
        PartKind.START_RECEIPT: hash_of(StartReceiptBody, start),
        PartKind.READING: hash_of(ReadingBody, session.readings[-1]),
        PartKind.END_RECEIPT: hash_of(EndReceiptBody, end),
        PartKind.END_CONFIRMATION: hash_of(EndConfirmationBody, confirmation),
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
    return Ended(user, record, end, confirmation)


# One bill


def test_a_bill_that_follows_from_the_evidence_is_proved(ended: Ended) -> None:
    assert ended.record.incl_vat_minor > 0
    assert ended.tell(ended.settled()) == []
    order = ended.user.order
    assert (order.state, order.proved, order.unproved_reason) == ("SETTLED", True, "")
    assert (order.total_minor, order.settled) == (ended.record.incl_vat_minor, ended.record.settled_time)


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
def test_a_bill_that_does_not_follow_from_the_evidence_is_disputed_as_a_whole(ended: Ended, changes: dict[str, Any]) -> None:
    [dispute] = ended.tell(ended.settled(**changes))
    order = ended.user.order
    total = changes.get("incl_vat_minor", ended.record.incl_vat_minor)
    assert (order.state, order.proved, order.disputed_minor) == ("DISPUTED", False, total)
    assert dispute == Dispute(ended.hash_of_record(**changes), total, order.unproved_reason)


def test_a_bill_without_its_confirmation_is_disputed(ended: Ended) -> None:
    bare = replace(ended.settled(), parts=settled_parts(None, ended.end))
    assert of(Dispute, ended.tell(bare))
    assert (ended.user.order.state, ended.user.order.proved) == ("DISPUTED", False)


def test_a_bill_is_disputed_by_itself_only_once(ended: Ended) -> None:
    wrong = ended.settled(energy_wh=EnergyWh(501))
    assert len(of(Dispute, ended.tell(wrong, wrong))) == 1
    ended.tell(wrong)
    assert ended.user.order.disputed_records == [ended.hash_of_record(energy_wh=EnergyWh(501))]


@pytest.mark.parametrize(
    "settled",
    [{"incl_vat_minor": Minor(0), "excl_vat_minor": Minor(0), "lines": ()}, {"disputed_minor": 7, "energy_wh": EnergyWh(501)}],
    ids=["nothing charged", "in dispute already"],
)
def test_a_bill_of_nothing_or_in_dispute_is_marked_and_not_disputed_again(ended: Ended, settled: dict[str, Any]) -> None:
    assert ended.tell(ended.settled(**settled)) == []
    order = ended.user.order
    assert (order.proved, bool(order.unproved_reason)) == (False, True)
    assert (order.state, order.disputed_minor) == (("DISPUTED", 7) if "disputed_minor" in settled else ("SETTLED", 0))


@pytest.mark.parametrize(("by", "by_grant"), [(STRANGER, PLATFORM_GRANT), (ISSUER, ISSUER_GRANT)])
def test_a_bill_that_the_platform_did_not_sign_settles_nothing(ended: Ended, by: Any, by_grant: bytes) -> None:
    assert ended.tell(ended.settled(by=by, by_grant=by_grant)) == []
    assert (ended.user.order.state, ended.user.order.total_minor) == ("ACTIVE", None)
    ended.tell(ended.settled())
    assert (ended.user.order.state, ended.user.order.proved) == ("SETTLED", True)


def test_a_bill_of_another_order_settles_nothing(ended: Ended) -> None:
    assert ended.tell(ended.settled(order_id=OTHER_ORDER)) == []
    assert (ended.user.order.state, ended.user.parts(PartKind.CHARGE_RECORD)) == ("ACTIVE", [])
    assert "RECEIPT_FOREIGN" in ended.user.wire.failures


def test_a_part_that_the_bill_does_not_name_is_not_kept(ended: Ended) -> None:
    other = seal(
        SilenceDecisionBody(ended.user.order_id, "RETURN", ended.record.settled_time, ended.record.settled_time), PLATFORM
    ).signed
    ended.others.append(Part(PartKind.SILENCE_DECISION, other))
    ended.tell(ended.settled())
    assert ended.user.parts(PartKind.SILENCE_DECISION) == []
    assert ended.user.order.proved


# Several bills


def test_the_bill_that_no_other_corrects_counts_whatever_comes_last(ended: Ended) -> None:
    first = ended.hash_of_record()
    second: dict[str, Any] = {"corrects_hash": first, "settled_time": later(ended.record.settled_time, 60)}
    ended.tell(ended.settled(disputed_minor=5), ended.settled(**second), ended.settled(disputed_minor=5))
    order = ended.user.order
    assert (order.state, order.disputed_minor) == ("SETTLED", 0)
    assert [hashed for hashed, _ in payment.records(ended.user.me.journal, ended.user.order_id)] == [
        first,
        ended.hash_of_record(**second),
    ]


def test_a_correction_is_proved_by_itself(ended: Ended) -> None:
    wrong: dict[str, Any] = {"energy_wh": EnergyWh(501)}
    assert of(Dispute, ended.tell(ended.settled(**wrong)))
    right = ended.settled(corrects_hash=ended.hash_of_record(**wrong), settled_time=later(ended.record.settled_time, 60))
    assert ended.tell(right) == []
    order = ended.user.order
    assert (order.state, order.proved, order.disputed_minor, order.unproved_reason) == ("SETTLED", True, 0, "")


def test_two_bills_of_which_neither_corrects_the_other_are_disputed(ended: Ended) -> None:
    assert ended.tell(ended.settled()) == []
    [dispute] = of(Dispute, ended.tell(ended.settled(settled_time=later(ended.record.settled_time, 1))))
    assert "neither corrects the other" in dispute.reason
    assert not ended.user.order.proved


def test_a_bill_under_the_platforms_next_key_is_proved(ended: Ended) -> None:
    ended.tell(ended.settled())
    ended.tell(ended.settled(by=NEXT_PLATFORM, by_grant=NEXT_GRANT, corrects_hash=ended.hash_of_record()))
    assert (ended.user.order.state, ended.user.order.proved) == ("SETTLED", True)
    assert len(ended.user.parts(PartKind.PLATFORM_GRANT)) == 2


# Disputes and rulings


def test_a_part_of_a_bill_is_disputed_and_ruled_upon(ended: Ended) -> None:
    ended.tell(ended.settled())
    ended.user.me.dispute(ended.user.order_id, Minor(10), "it stopped half way")
    assert ended.user.wire.listen() == [Dispute(ended.hash_of_record(), Minor(10), "it stopped half way")]
    assert (ended.user.order.state, ended.user.order.disputed_minor) == ("DISPUTED", 10)
    ended.tell(ruling(ended))
    [made] = ended.user.order.rulings
    assert (made.charged_minor, made.reason, ended.user.order.state) == (4, "half of it", "DISPUTED")
    assert len(ended.user.parts(PartKind.RULING)) == 1


@pytest.mark.parametrize("by", [ISSUER, STRANGER, ROOT])
def test_a_ruling_that_the_platform_did_not_sign_is_not_believed(ended: Ended, by: SigningKey) -> None:
    ended.tell(ended.settled(), ruling(ended, by))
    assert (ended.user.order.rulings, ended.user.parts(PartKind.RULING)) == ([], [])
    assert "SIGNATURE_INVALID" in ended.user.wire.failures


def test_a_ruling_of_another_order_is_not_believed(ended: Ended) -> None:
    ended.tell(ended.settled(), ruling(ended, order_id=OTHER_ORDER))
    assert ended.user.order.rulings == []
    assert "RECEIPT_FOREIGN" in ended.user.wire.failures


def test_a_ruling_under_a_platform_key_that_came_with_the_bill_is_believed(ended: Ended) -> None:
    ended.tell(ended.settled(by=NEXT_PLATFORM, by_grant=NEXT_GRANT), ruling(ended, NEXT_PLATFORM))
    assert len(ended.user.order.rulings) == 1


@pytest.mark.parametrize(("amount", "reason"), [(0, "DISPUTE_AMOUNT"), (-1, "DISPUTE_AMOUNT"), (10**9, "DISPUTE_AMOUNT")])
def test_no_more_than_the_bill_is_disputed(ended: Ended, amount: int, reason: str) -> None:
    ended.tell(ended.settled())
    with pytest.raises(Rejected) as refused:
        ended.user.me.dispute(ended.user.order_id, Minor(amount), "wrong")
    assert refused.value.reason == reason
    assert (ended.user.order.state, ended.user.wire.listen()) == ("SETTLED", [])


def test_a_bill_is_disputed_only_once_there_is_one_and_none_is_open(ended: Ended) -> None:
    with pytest.raises(Rejected, match="WRONG_STATE"):
        ended.user.me.dispute(ended.user.order_id, Minor(1), "wrong")
    ended.tell(ended.settled())
    ended.user.me.dispute(ended.user.order_id, Minor(1), "wrong")
    with pytest.raises(Rejected, match="DISPUTE_LATE"):
        ended.user.me.dispute(ended.user.order_id, Minor(1), "wrong")


def test_a_dispute_that_the_cloud_refuses_leaves_the_bill_settled(ended: Ended) -> None:
    ended.tell(ended.settled())
    ended.user.me.dispute(ended.user.order_id, Minor(1), "wrong")
    ended.user.wire.listen()
    ended.tell(RejectedMessage(Number(ended.user.wire.numbers[-1]), "DISPUTE_LATE", {}))
    order = ended.user.order
    assert (order.state, order.disputed_minor, order.reason, order.refused) == ("SETTLED", 0, "DISPUTE_LATE", "DISPUTE")


def ruling(ended: Ended, by: SigningKey = PLATFORM, **changes: Any) -> Ruling:
    """The message that brings a ruling."""
    body = RulingBody(ended.user.order_id, Minor(4), "half of it", later(ended.record.settled_time, 60))
    return Ruling(seal(replace(body, **changes), by).signed)
