"""What may not be billed of a service: more than quote and approved extra work, or than the user let pass."""

from collections.abc import Iterator

import pytest

from energyshare.bodies import AmendmentAnswerBody, AmendmentBody, Part, SettlementRequestBody, SilenceDecisionBody, Verified
from energyshare.charging import service_charge
from energyshare.records import replace
from energyshare.values import ChargeBasis, Digest, DurationS, Kind, Minor, Number, OrderId, PartKind, later
from energyshare.wire import Bundle, peek, seal
from tests.cloud import tales
from tests.cloud.actors import PLATFORM, T0, key
from tests.cloud.conftest import Template
from tests.cloud.forging import added, altered, billed, one_altered, silence, twice, with_more, without
from tests.cloud.saying import JUMP_START, TOW, TYRE
from tests.cloud.tales import Tale
from tests.cloud.told import Forge, Tell, Told, recorded, refusal, retold, telling

K, B = PartKind, ChargeBasis
ORDER, ELSEWHERE, NOWHERE = OrderId(b"\x01" * 16), OrderId(b"\x02" * 16), Digest(b"x" * 32)


@pytest.fixture(scope="module")
def tell(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tell]:
    with telling(template, tmp_path_factory.mktemp("services")) as tell_once:
        yield tell_once


def requested(**changes: object) -> Forge:
    """Another settlement request by the provider, with the total that it comes to, confirmed by the user."""

    def forge(told: Told) -> Bundle:
        body = replace(told.part(SettlementRequestBody, K.SETTLEMENT_REQUEST), **changes)  # type: ignore[arg-type]
        if "total_minor" not in changes:
            full = service_charge(told.story.offer.body, replace(body, total_minor=Minor(10**9)), told.record.start_time)
            body = replace(body, total_minor=full.incl_vat_minor)
        request = seal(body, key("sun"))
        confirmed = altered(K.SETTLEMENT_ANSWER, "ann", settlement_request_hash=request.digest)(told)
        return retold(confirmed, {K.SETTLEMENT_REQUEST: request})

    return forge


def silent(told: Told, what: str, due_s: int = 7_200) -> Bundle:
    """Silence in the place of the answer that the user did sign."""
    body = SilenceDecisionBody(ORDER, what, later(T0, due_s), later(T0, due_s))
    parts = {K.SETTLEMENT_ANSWER: None, K.SILENCE_DECISION: seal(body, PLATFORM)}
    return retold(told.bundle, parts, settled_time=body.decided_time)


def approved_by(name: str) -> Forge:
    """The amendment that nobody answered, approved by someone."""

    def forge(told: Told) -> Bundle:
        body = AmendmentAnswerBody(ORDER, told.story.amendments[2].digest, approved=True)
        return with_more(told.bundle, K.AMENDMENT_ANSWER, seal(body, key(name)))

    return forge


def amendment_repeated(told: Told) -> Bundle:
    """The approved tyre once more, under the next number and with the same approval."""
    again = seal(replace(told.story.amendments[1].body, number=Number(3)), key("sun"))
    kept = tuple(p for p in told.bundle.parts if p.signed != told.story.amendments[2].signed)
    more = recorded(replace(told.bundle, parts=(*kept, Part(K.AMENDMENT, again.signed))))
    return requested(items=(JUMP_START, replace(TYRE, quantity=2)))(replace(told, bundle=more))


def amendment_left_out(told: Told) -> Bundle:
    """The refused amendment and its answer gone, as if it had never been proposed."""
    refused = told.story.amendments[0]
    gone = (Part(K.AMENDMENT, refused.signed), *answers_to(told, refused))
    return recorded(replace(told.bundle, parts=tuple(p for p in told.bundle.parts if p not in gone)))


def priced_otherwise(told: Told) -> Bundle:
    """The approved tyre at a lower price, so that less would be held."""
    tyre = told.story.amendments[1]
    cheaper = seal(replace(tyre.body, hold_minor=Minor(1)), key("sun"))
    answer = seal(AmendmentAnswerBody(ORDER, cheaper.digest, approved=True), key("ann"))
    kept = tuple(p for p in told.bundle.parts if p.signed != tyre.signed and p not in answers_to(told, tyre))
    parts = (*kept, Part(K.AMENDMENT, cheaper.signed), Part(K.AMENDMENT_ANSWER, answer.signed))
    return recorded(replace(told.bundle, parts=parts))


def answers_to(told: Told, amendment: Verified[AmendmentBody]) -> list[Part]:
    answers = [p for p in told.bundle.parts if p.kind is K.AMENDMENT_ANSWER]
    return [p for p in answers if peek(AmendmentAnswerBody, p.signed).amendment_hash == amendment.digest]


AMENDED = tales.service_amended
SILENCE = SilenceDecisionBody(ORDER, "SERVICE_CONFIRMATION", later(T0, 7_200), later(T0, 7_200))

CHEATS: list[tuple[str, Tale, Forge, str]] = [
    # what was agreed
    ("an item that nobody agreed to", tales.service_confirmed, requested(items=(JUMP_START, TYRE)), "SETTLEMENT_ITEMS"),
    ("an item more often than quoted", tales.service_confirmed, requested(items=(JUMP_START,) * 2), "SETTLEMENT_ITEMS"),
    ("more time than quoted", tales.service_confirmed, requested(duration_s=DurationS(7_201)), "SETTLEMENT_ITEMS"),
    ("work that was refused", AMENDED, requested(items=(JUMP_START, TYRE, TOW)), "SETTLEMENT_ITEMS"),
    ("work that was never answered", AMENDED, requested(items=(JUMP_START,) * 2), "SETTLEMENT_ITEMS"),
    ("time that was never answered", AMENDED, requested(duration_s=DurationS(10_800)), "SETTLEMENT_ITEMS"),
    ("a total above items and time", tales.service_confirmed, requested(total_minor=Minor(20_141)), "SETTLEMENT_TOTAL"),
    # amendments and their answers
    ("an approval by the provider", AMENDED, approved_by("sun"), "AMENDMENT_ANSWER_SIGNATURE"),
    ("an approval by another user", AMENDED, approved_by("ben"), "AMENDMENT_ANSWER_SIGNATURE"),
    ("an approval that no hold followed", AMENDED, approved_by("ann"), "BILL_HOLD"),
    (
        "the refusal turned into an approval",
        AMENDED,
        one_altered(K.AMENDMENT_ANSWER, 0, "sun", approved=True),
        "AMENDMENT_ANSWER_SIGNATURE",
    ),
    (
        "an answer to another amendment",
        AMENDED,
        one_altered(K.AMENDMENT_ANSWER, 0, "ann", amendment_hash=NOWHERE),
        "AMENDMENT_UNKNOWN",
    ),
    (
        "an amendment answered twice",
        AMENDED,
        lambda told: one_altered(K.AMENDMENT_ANSWER, 0, "ann", amendment_hash=told.story.amendments[1].digest)(told),
        "AMENDMENT_UNKNOWN",
    ),
    (
        "an answer in another order",
        AMENDED,
        one_altered(K.AMENDMENT_ANSWER, 0, "ann", order_id=ELSEWHERE),
        "AMENDMENT_ANSWER_ORDER",
    ),
    ("an amendment of another order", AMENDED, one_altered(K.AMENDMENT, 0, "sun", order_id=ELSEWHERE), "AMENDMENT_ORDER"),
    ("an amendment by the platform", AMENDED, one_altered(K.AMENDMENT, 0, "the platform"), "AMENDMENT_SIGNATURE"),
    (
        "an approved amendment with more in it",
        AMENDED,
        one_altered(K.AMENDMENT, 1, "sun", items=(TYRE, TOW)),
        "AMENDMENT_UNKNOWN",
    ),
    ("an approved amendment that holds less", AMENDED, priced_otherwise, "AMENDMENT_HOLD"),
    ("an amendment named twice", AMENDED, twice(K.AMENDMENT), "AMENDMENT_HASH"),
    ("an approval that counts for two", AMENDED, amendment_repeated, "SETTLEMENT_ITEMS"),
    ("an amendment that was left out", AMENDED, amendment_left_out, "AMENDMENT_UNKNOWN"),
    # who let it pass
    ("no answer", tales.service_confirmed, without(K.SETTLEMENT_ANSWER), "SETTLEMENT_ANSWER_MISSING"),
    ("no request", tales.service_confirmed, without(K.SETTLEMENT_REQUEST), "SETTLEMENT_REQUEST_MISSING"),
    (
        "an answer to another request",
        tales.service_confirmed,
        altered(K.SETTLEMENT_ANSWER, "ann", settlement_request_hash=NOWHERE),
        "SETTLEMENT_UNKNOWN",
    ),
    ("an answer by the provider", tales.service_confirmed, altered(K.SETTLEMENT_ANSWER, "sun"), "SETTLEMENT_ANSWER_SIGNATURE"),
    ("an answer by another user", tales.service_confirmed, altered(K.SETTLEMENT_ANSWER, "ben"), "SETTLEMENT_ANSWER_SIGNATURE"),
    (
        "an answer in another order",
        tales.service_confirmed,
        altered(K.SETTLEMENT_ANSWER, "ann", order_id=ELSEWHERE),
        "SETTLEMENT_ANSWER_ORDER",
    ),
    (
        "a request in another order",
        tales.service_confirmed,
        altered(K.SETTLEMENT_REQUEST, "sun", order_id=ELSEWHERE),
        "SETTLEMENT_REQUEST_ORDER",
    ),
    (
        "a request by the platform",
        tales.service_confirmed,
        altered(K.SETTLEMENT_REQUEST, "the platform"),
        "SETTLEMENT_REQUEST_SIGNATURE",
    ),
    (
        "more refused than was asked for",
        tales.service_refused_in_part,
        altered(K.SETTLEMENT_ANSWER, "ann", disputed_minor=Minor(20_141)),
        "DISPUTE_AMOUNT",
    ),
    (
        "what was refused, billed",
        tales.service_refused_in_part,
        billed(excl_vat_minor=19_000, incl_vat_minor=20_140),
        "BILL_TOTAL",
    ),
    (
        "the quote where less was confirmed",
        tales.service_for_less,
        billed(excl_vat_minor=19_000, incl_vat_minor=20_140),
        "BILL_TOTAL",
    ),
    (
        "an answer and silence",
        tales.service_confirmed,
        added(K.SILENCE_DECISION, "the platform", SILENCE),
        "SETTLEMENT_ANSWER_MISSING",
    ),
    (
        "silence in place of the answer",
        tales.service_refused_in_part,
        lambda told: silent(told, "SERVICE_CONFIRMATION"),
        "BILL_TOTAL",
    ),
    (
        "silence while the work was under way",
        tales.service_confirmed,
        lambda told: silent(told, "SERVICE_CONFIRMATION", 3_599),
        "BILL_BASIS",
    ),
    ("silence on something else", tales.service_unanswered, silence(waited_for="CONFIRMATION"), "BILL_BASIS"),
    ("silence decided before it was due", tales.service_unanswered, silence(decided_time=later(T0, 7_201)), "BILL_BASIS"),
    ("silence that its provider decides", tales.service_unanswered, silence("sun"), "SILENCE_DECISION_SIGNATURE"),
    (
        "beyond the quote though nothing arrived",
        tales.service_unheard,
        billed(excl_vat_minor=25_000, incl_vat_minor=26_500),
        "BILL_TOTAL",
    ),
    # the record
    ("an end receipt's basis", tales.service_confirmed, billed(basis=B.END_RECEIPT), "BILL_BASIS"),
    ("the caps", tales.service_confirmed, billed(basis=B.CAP), "BILL_BASIS"),
    ("a ruling without one", tales.service_confirmed, billed(basis=B.RULING), "BILL_BASIS"),
    ("a claim on a deposit", tales.service_confirmed, billed(deposit_claimed_minor=Minor(1)), "BILL_HOLD"),
    ("another kind", tales.service_confirmed, billed(kind=Kind.ENERGY), "SETTLEMENT_REQUEST_UNEXPECTED"),
    ("energy", tales.service_confirmed, billed(energy_wh=1), "BILL_SESSION"),
    ("a longer time than was asked for", tales.service_confirmed, billed(duration_s=DurationS(3_601)), "BILL_SESSION"),
    ("an earlier start", tales.service_confirmed, billed(start_time=later(T0, -1)), "BILL_SESSION"),
    ("a hold without the amendment", AMENDED, billed(hold_minor=Minor(26_500)), "BILL_HOLD"),
]


@pytest.mark.parametrize(("tale", "forge", "code"), [pytest.param(*row[1:], id=row[0]) for row in CHEATS])
def test_what_may_not_be_billed_of_a_service_is_refused(tell: Tell, tale: Tale, forge: Forge, code: str) -> None:
    assert refusal(forge(tell(tale))) == code
