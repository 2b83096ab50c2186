"""What may not be claimed, ruled or corrected: deposits, refused and disputed amounts, and bills that replace others."""

from collections.abc import Iterator
from typing import Any

import pytest

from energyshare.bodies import ChargeRecordBody, NotReturnedBody, Part, RulingBody, SilenceDecisionBody
from energyshare.evidence import verify_bundle
from energyshare.records import replace
from energyshare.values import ChargeBasis, Digest, DurationS, EnergyWh, Instant, Kind, Minor, OrderId, PartKind, later
from energyshare.wire import Bundle, peek, seal
from tests.cloud import tales
from tests.cloud.actors import PLATFORM, ROOT, T0, key
from tests.cloud.conftest import Template
from tests.cloud.forging import added, altered, billed, silence, with_more, without
from tests.cloud.tales import Tale
from tests.cloud.told import Forge, Tell, Told, refusal, retold, telling

K, B = PartKind, ChargeBasis
ORDER, ELSEWHERE, NOWHERE = OrderId(b"\x01" * 16), OrderId(b"\x02" * 16), Digest(b"x" * 32)
OVERDUE = later(T0, tales.OVERDUE_S)


@pytest.fixture(scope="module")
def tell(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tell]:
    with telling(template, tmp_path_factory.mktemp("corrections")) as tell_once:
        yield tell_once


def ruling(charged: int, by: str = "the platform", at: Instant | None = None, **billed: Any) -> Forge:
    """Another ruling, and a record of it."""

    def forge(told: Told) -> Bundle:
        body = RulingBody(told.bundle.order_id, Minor(charged), "as it pleases", at or told.record.settled_time)
        signer = PLATFORM if by == "the platform" else key(by)
        return retold(told.bundle, {K.RULING: seal(body, signer)}, **billed)

    return forge


def claimed(by: str, stated: Instant = OVERDUE, **changes: Any) -> Forge:
    """A statement that the battery did not come back, and the whole deposit claimed on it."""

    def forge(told: Told) -> Bundle:
        body = replace(NotReturnedBody(ORDER, stated), **changes)
        part = seal(body, PLATFORM if by == "the platform" else key(by))
        return with_more(told.bundle, K.NOT_RETURNED, part, deposit_claimed_minor=Minor(5_000))

    return forge


def before_is(**changes: Any) -> Forge:
    """Another record before the one that corrects it; that one names the new one."""

    def forge(told: Told) -> Bundle:
        records = [p for p in told.bundle.parts if p.kind is K.CHARGE_RECORD]
        first = seal(replace(peek(ChargeRecordBody, records[-2].signed), **changes), PLATFORM)
        parts = tuple(Part(p.kind, first.signed) if p == records[-2] else p for p in told.bundle.parts)
        return recorded_after(replace(told.bundle, parts=parts), records[-1], first.digest)

    return forge


def recorded_after(bundle: Bundle, last: Part, corrected: Digest) -> Bundle:
    """Let the last record correct another one."""
    body = replace(peek(ChargeRecordBody, last.signed), corrects_hash=corrected)
    parts = tuple(p for p in bundle.parts if p != last)
    return replace(bundle, parts=(*parts, Part(K.CHARGE_RECORD, seal(body, PLATFORM).signed)))


def silenced(told: Told) -> Bundle:
    at = told.record.settled_time
    return added(K.SILENCE_DECISION, "the platform", SilenceDecisionBody(ORDER, "CONFIRMATION", at, at))(told)


CLAIMS: list[tuple[str, Tale, Forge, str]] = [
    ("the deposit without a statement", tales.battery_lost, billed(deposit_claimed_minor=Minor(5_000)), "BILL_HOLD"),
    ("a part of it", tales.battery_not_returned_at_the_very_moment, billed(deposit_claimed_minor=Minor(4_999)), "BILL_HOLD"),
    ("more than the deposit", tales.battery_not_returned, billed(deposit_claimed_minor=Minor(5_001)), "BILL_HOLD"),
    ("a statement within the grace", tales.battery_lost, claimed("sun", later(OVERDUE, -1)), "NOT_OVERDUE"),
    ("a statement in another order", tales.battery_lost, claimed("sun", order_id=ELSEWHERE), "NOT_RETURNED_ORDER"),
    ("a statement by the platform", tales.battery_lost, claimed("the platform"), "NOT_RETURNED_SIGNATURE"),
    ("a statement by another provider", tales.battery_lost, claimed("moon"), "NOT_RETURNED_SIGNATURE"),
    ("a statement though it came back", tales.battery_returned, claimed("sun"), "BILL_HOLD"),
    ("a statement though it was confirmed", tales.battery_asked_without_receipt, claimed("sun"), "NOT_OVERDUE"),
    ("a statement of an outlet", tales.energy_never_ended, claimed("sun"), "NOT_RETURNED_UNEXPECTED"),
    (
        "the deposit though it came back late",
        tales.battery_returned_after_the_claim,
        billed(deposit_claimed_minor=Minor(5_000)),
        "BILL_HOLD",
    ),
    ("a claim that nobody ruled on", tales.battery_damaged, billed(deposit_claimed_minor=Minor(1_000)), "BILL_HOLD"),
    ("more than was ruled", tales.battery_damage_ruled, billed(deposit_claimed_minor=Minor(601)), "BILL_HOLD"),
    ("less than was ruled", tales.battery_damage_ruled, billed(deposit_claimed_minor=Minor(599)), "BILL_HOLD"),
    ("a ruling above the claim", tales.battery_damage_ruled, ruling(1_001, deposit_claimed_minor=Minor(1_001)), "BILL_HOLD"),
    (
        "a claim of another end",
        tales.battery_damage_ruled,
        altered(K.END_REFUSAL, "sun", end_receipt_hash=NOWHERE),
        "CONFIRMATION_FOREIGN",
    ),
    (
        "a claim in another order",
        tales.battery_damage_ruled,
        altered(K.END_REFUSAL, "sun", order_id=ELSEWHERE),
        "END_REFUSAL_ORDER",
    ),
    ("a claim by the platform", tales.battery_damage_ruled, altered(K.END_REFUSAL, "the platform"), "END_REFUSAL_SIGNATURE"),
    ("a claim and silence", tales.battery_damaged, silenced, "END_ANSWER_MISSING"),
    ("a claim left out", tales.battery_damage_ruled, without(K.END_REFUSAL), "END_ANSWER_MISSING"),
    (
        "silence before it was overdue",
        tales.battery_not_returned_at_the_very_moment,
        silence(due_time=later(OVERDUE, -1)),
        "BILL_BASIS",
    ),
    (
        "the caps of one that came back",
        tales.battery_returned_unheard,
        billed(basis=B.CAP, duration_s=DurationS(7_200), energy_wh=EnergyWh(5_000)),
        "BILL_BASIS",
    ),
]


RULINGS: list[tuple[str, Tale, Forge, str]] = [
    ("a ruling by the provider", tales.energy_disputed, ruling(40, by="sun"), "RULING_SIGNATURE"),
    ("a ruling by the user", tales.energy_disputed, ruling(40, by="ann"), "RULING_SIGNATURE"),
    ("a ruling of another order", tales.energy_disputed, altered(K.RULING, "the platform", order_id=ELSEWHERE), "RULING_ORDER"),
    ("a ruling that is made later", tales.energy_disputed, ruling(40, at=later(T0, 10**6)), "BILL_BASIS"),
    ("a ruling left out", tales.energy_disputed, without(K.RULING), "BILL_BASIS"),
    ("a ruling beside another basis", tales.energy_disputed, billed(basis=B.END_RECEIPT), "BILL_BASIS"),
    ("a ruling that corrects nothing", tales.energy_disputed, billed(corrects_hash=None), "BILL_BASIS"),
    ("a ruling that charges more than is billed", tales.energy_disputed, ruling(348), "BILL_BASIS"),
    ("a ruling that raises the bill", tales.energy_disputed, billed(incl_vat_minor=Minor(408)), "BILL_TOTAL"),
    ("a ruling with other lines", tales.energy_disputed, billed(lines=()), "BILL_TOTAL"),
    (
        "a second ruling that raises it again",
        tales.energy_disputed_three_times,
        billed(incl_vat_minor=Minor(358)),
        "BILL_TOTAL",
    ),
    ("above the refused part", tales.service_refusal_ruled, ruling(2_121), "DISPUTE_AMOUNT"),
    ("more than was ruled of it", tales.service_refusal_ruled, billed(incl_vat_minor=Minor(19_081)), "BILL_TOTAL"),
    (
        "the whole request",
        tales.service_refusal_ruled,
        billed(excl_vat_minor=Minor(19_000), incl_vat_minor=Minor(20_140)),
        "BILL_TOTAL",
    ),
    (
        "a claim's ruling that changes the bill",
        tales.battery_damage_ruled,
        billed(excl_vat_minor=Minor(200), incl_vat_minor=Minor(226)),
        "BILL_TOTAL",
    ),
]


HISTORIES: list[tuple[str, Tale, Forge, str]] = [
    ("a correction of another record", tales.energy_disputed, billed(corrects_hash=NOWHERE), "BILL_BASIS"),
    ("two that correct nothing", tales.battery_returned_unheard, billed(corrects_hash=None), "BILL_BASIS"),
    ("a record before it that is smaller", tales.energy_disputed, before_is(incl_vat_minor=Minor(300)), "BILL_TOTAL"),
    ("a record before it of another order", tales.energy_disputed, before_is(order_id=ELSEWHERE), "BILL_BASIS"),
    ("of another provider", tales.energy_disputed, before_is(provider_id=b"m" * 16), "BILL_BASIS"),
    ("of another kind", tales.energy_disputed, before_is(kind=Kind.BATTERY), "BILL_BASIS"),
    ("of another start", tales.energy_disputed, before_is(start_time=later(T0, 1)), "BILL_BASIS"),
    ("of another hold", tales.energy_disputed, before_is(hold_minor=Minor(900)), "BILL_BASIS"),
    ("that was settled later", tales.energy_disputed, before_is(settled_time=later(T0, 10**6)), "BILL_BASIS"),
    ("a deposit given back without a claim", tales.battery_not_returned, billed(deposit_claimed_minor=Minor(0)), "BILL_HOLD"),
    (
        "a claim above what was claimed",
        tales.battery_damage_ruled_and_disputed,
        billed(deposit_claimed_minor=Minor(601)),
        "BILL_HOLD",
    ),
]


@pytest.mark.parametrize(
    ("tale", "forge", "code"), [pytest.param(*row[1:], id=row[0]) for row in (*CLAIMS, *RULINGS, *HISTORIES)]
)
def test_what_may_not_be_claimed_ruled_or_corrected_is_refused(tell: Tell, tale: Tale, forge: Forge, code: str) -> None:
    assert refusal(forge(tell(tale))) == code


def test_a_ruling_may_give_any_part_of_what_was_refused(tell: Tell) -> None:
    for charged, total in ((0, 18_020), (2_120, 20_140)):
        told = tell(tales.service_refusal_ruled)
        amounts: dict[str, Any] = {"excl_vat_minor": Minor(total * 100 // 106), "incl_vat_minor": Minor(total)}
        verify_bundle(ruling(charged, **amounts)(told), ROOT.public)
