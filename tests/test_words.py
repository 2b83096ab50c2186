"""What a user reads of an order: a sentence and a command for every state of every kind, and offers side by side."""

from io import StringIO
from typing import Any, get_args

import pytest
from rich.console import Console

from energyshare.bodies import OfferBody, ServiceItem
from energyshare.errors import WORDS, Reason
from energyshare.records import replace
from energyshare.values import Currency, DurationS, EnergyWh, Kind, Minor, OrderId, later
from terminals.reasons import CODES, reason_text
from terminals.units import clock_text, figure, items_text, plain, span_text
from terminals.user import pages
from terminals.user.order import Act, AmendmentLine, KindName, OfferLine, SettlementAsked, State, UserOrder
from terminals.user.words import bar, gives_text, next_of, offers_table, sentence_of
from tests.device.world import OWNER
from tests.journals import CALLOUT, JUMP_START, LOCK, WORKER
from tests.terminals_world import CNY, NOW, OUTLET, TARIFF

STATES: tuple[State, ...] = (
    *("DEMANDED", "SELECTED", "AUTHORIZED", "ACTIVE", "ENDING"),
    *("SETTLED", "DISPUTED", "CANCELLED", "EXPIRED", "REFUSED"),
)
NOTHING_TO_TYPE = ("CANCELLED", "EXPIRED", "REFUSED")
LINE = OfferLine(b"#" * 32, 272, 400)
AMENDMENT = AmendmentLine(2, b"a" * 32, [ServiceItem("spare fuse", 2)], 1_800, 5_257)
ASKED = SettlementAsked(b"s" * 32, list(JUMP_START), 1_800, 12_720)


def order(state: State = "DEMANDED", **changes: Any) -> UserOrder:
    made = UserOrder(3, b"", NOW, state=state, proved=True)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


# Sentences and commands


@pytest.mark.parametrize("kind", get_args(KindName))
@pytest.mark.parametrize("state", STATES)
def test_every_state_of_every_kind_has_a_sentence_and_a_command(state: State, kind: KindName) -> None:
    words, following = sentence_of(order(state, kind=kind), CNY), next_of(order(state, kind=kind))
    assert words
    assert words != state.lower()
    assert (following is None) == (state in NOTHING_TO_TYPE)
    assert following is None or following.startswith("energyshare ")
    assert following in (None, "energyshare sync") or " 3" in str(following)


@pytest.mark.parametrize("state", ["AUTHORIZED", "ACTIVE", "ENDING"])
def test_kinds_are_told_apart_where_they_differ(state: State) -> None:
    told = {sentence_of(order(state, kind=kind), CNY) for kind in get_args(KindName)[1:]}
    assert len(told) > 1


@pytest.mark.parametrize(
    ("state", "changes", "words", "following"),
    [
        ("DEMANDED", {"offers": [LINE]}, "1 offer to select from", "energyshare select 3 OFFER"),
        ("DEMANDED", {"offers": [LINE, LINE]}, "2 offers to select from", "energyshare select 3 OFFER"),
        (
            "DEMANDED",
            {"offers": [OfferLine(b"", 1, 1, withdrawn=True)]},
            "waiting for offers",
            "energyshare offers 3, then energyshare select 3 OFFER",
        ),
        (
            "DEMANDED",
            {"offers": [LINE], "reason": "INSUFFICIENT_FUNDS", "refused": "SELECTION"},
            "1 offer to select from; the cloud refused the selection: the wallet does not hold enough",
            "energyshare wallet top-up AMOUNT",
        ),
        (
            "DEMANDED",
            {"offers": [LINE], "reason": "RECEIVABLE_DUE", "refused": "SELECTION"},
            "1 offer to select from; the cloud refused the selection: an earlier order is not paid yet",
            "energyshare wallet top-up AMOUNT",
        ),
        (
            "AUTHORIZED",
            {"cancel_asked": "USER"},
            "cancelling; it ends when the voucher is closed at its device, or has run out",
            "energyshare cancel 3 --device HOST:PORT",
        ),
        (
            "AUTHORIZED",
            {"cancel_asked": "PROVIDER", "cancel_reason": "USER_LIMIT"},
            (
                "the provider cancels it (this user has as many orders there as the provider allows);"
                " it ends when the voucher is closed at its device, or has run out"
            ),
            "energyshare sync",
        ),
        (
            "ACTIVE",
            {"kind": "SERVICE", "amendments": [AMENDMENT]},
            (
                "the work is under way; its provider asks for settlement when it is done;"
                " the provider proposes 2 × spare fuse and 30 min more, for at most 52.57 CNY on top"
            ),
            "energyshare amendment approve 3 2, or refuse in place of approve",
        ),
        (
            "ENDING",
            {"kind": "SERVICE", "settlement": ASKED},
            "the provider asks for 127.20 CNY for jump-start in 30 min",
            "energyshare confirm 3, or energyshare confirm 3 --dispute AMOUNT",
        ),
        (
            "SETTLED",
            {"proved": False, "unproved_reason": "the bill exceeds what was held"},
            "settled, but: the bill exceeds what was held",
            "energyshare dispute 3 AMOUNT --reason TEXT",
        ),
        (
            "DISPUTED",
            {"disputed_minor": 1_200, "dispute_reason": "it was broken"},
            "settled but for 12.00 CNY that are disputed (it was broken); the operator decides",
            "energyshare order show 3",
        ),
        ("EXPIRED", {"reason": "NO_OFFER"}, "expired; nothing was charged (nobody made an offer in time)", None),
        ("CANCELLED", {"reason": "MADE_UP_BY_SOMEONE"}, "cancelled; nothing was charged (made up by someone)", None),
        (
            "AUTHORIZED",
            {"holder_key": b"k" * 32, "kind": "ENERGY"},
            "the voucher is here; it starts the outlet, also with nobody online, on another terminal of yours",
            "energyshare cancel 3",
        ),
    ],
)
def test_what_waits_for_the_user_comes_first(state: State, changes: dict[str, Any], words: str, following: str | None) -> None:
    assert sentence_of(order(state, **changes), CNY) == words
    assert next_of(order(state, **changes)) == following


@pytest.mark.parametrize("act", get_args(Act))
def test_a_refusal_names_what_was_refused(act: Act) -> None:
    words = sentence_of(order("ACTIVE", refused=act, reason="WRONG_STATE"), CNY)
    assert "; the cloud refused the " in words
    assert words.endswith(": the order is not at that point")


def test_what_others_wrote_can_not_steer_the_terminal() -> None:
    asked = SettlementAsked(b"", [ServiceItem("\x1b[2J", 1)], 60, 1, fault="\x07")
    assert "\x1b" not in sentence_of(order("ENDING", settlement=asked, kind="SERVICE"), CNY)
    assert "\x07" not in sentence_of(order("ENDING", settlement=asked, kind="SERVICE"), CNY)


# Codes


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_known_code_has_words_of_its_own(code: str) -> None:
    assert reason_text(code) == CODES[code]
    assert code not in Reason.__members__


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ASSET_TAKEN", WORDS[Reason.ASSET_TAKEN][0]),
        ("BEING_CLEANED", "being cleaned"),
        ("an offer does not hold: [X]", "an offer does not hold: [X]"),
    ],
)
def test_other_codes_are_told_as_well_as_can_be(code: str, words: str) -> None:
    assert reason_text(code) == words


# Units


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0:00"), (9, "0:09"), (309, "5:09"), (3_909, "1:05:09"), (86_400, "1 d 0:00:00")]
)
def test_spans_are_written_as_a_clock_counts_them(seconds: int, text: str) -> None:
    assert span_text(seconds) == text


def test_a_time_of_today_is_written_without_its_date() -> None:
    assert len(clock_text(NOW, NOW)) == 8
    assert len(clock_text(later(NOW, 3 * 86_400), NOW)) == 16


@pytest.mark.parametrize(("minor", "currency", "text"), [(123_456, "CNY", "1,234.56"), (123_456, "JPY", "123,456")])
def test_figures_are_written_without_their_currency(minor: int, currency: str, text: str) -> None:
    assert figure(minor, currency) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 4, "░░░░"), (1, 4, "█░░░"), (4, 4, "████"), (9, 4, "████"), (1, 0, "░░░░")]
)
def test_a_bar_is_full_at_the_cap_and_past_it(part: int, whole: int, text: str) -> None:
    assert bar(part, whole, 4) == text


def test_items_and_texts_are_written_plainly() -> None:
    assert items_text((ServiceItem("tow", 1), ServiceItem("fuse", 2))) == "tow, 2 × fuse"
    assert plain("a\x1bb\nc·ü") == "a�b�c·ü"


# Offers


def offer(kind: Kind) -> tuple[OfferLine, OfferBody]:
    """An offer of a kind, as it is numbered."""
    asset = {Kind.BATTERY: LOCK, Kind.ENERGY: OUTLET, Kind.SERVICE: WORKER}[kind]
    body = OfferBody(
        order_id=OrderId(b"1" * 16),
        provider_id=OWNER,
        asset=asset,
        tariff=CALLOUT if kind is Kind.SERVICE else TARIFF,
        currency=CNY,
        energy_wh_max=EnergyWh(1 if kind is Kind.SERVICE else 2_000),
        duration_s_max=DurationS(9_000),
        return_grace_s=DurationS(0),
        estimate=(),
        estimate_excl_vat_minor=Minor(1),
        estimate_incl_vat_minor=Minor(1_234_50),
        voucher_not_after_time=later(NOW, 7_200),
        expiry_time=later(NOW, 600),
        items=JUMP_START if kind is Kind.SERVICE else (),
    )
    return OfferLine(b"#" * 32, 2_000_00 + asset.deposit_minor, 12_345), body


def drawn(width: int, *kinds: Kind) -> list[str]:
    console = Console(file=StringIO(), width=width, highlight=False)
    console.print(offers_table([offer(kind) for kind in kinds], width))
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_offers_of_all_kinds_fit_side_by_side_on_one_total(width: int) -> None:
    lines = drawn(width, *Kind)
    assert all(len(line) <= width for line in lines)
    head, *rows = lines
    assert "total CNY" in head
    assert "at most" in head
    assert sum("1,234.50" in row for row in rows) == 3
    assert sum("2,000.00" in row for row in rows) == 3
    assert sum("200.00" in row.replace("2,000.00", "").replace("1,234.50", "") for row in rows) == 1
    assert "jump-start in" in " ".join(rows)


def test_a_whole_line_shows_what_an_offer_gives() -> None:
    assert [gives_text(offer(kind)[1]) for kind in Kind] == [
        "2.000 kWh, 2 h 30 min, 100 % full",
        "2.000 kWh, 2 h 30 min",
        "jump-start in 2 h 30 min",
    ]


def test_a_withdrawn_offer_is_marked() -> None:
    line, body = offer(Kind.ENERGY)
    table = offers_table([(OfferLine(line.digest, line.hold_minor, line.distance_m, withdrawn=True), body)])
    assert next(iter(table.columns[0].cells)) == "1 gone"


def test_before_selecting_the_most_the_deposit_the_caps_and_the_times_are_said() -> None:
    text = "\n".join(pages.most_lines(2, *offer(Kind.BATTERY)))
    for words in ("Offer 2: battery at Corner-Shop/lock-1", "2.000 kWh, 2 h 30 min"):
        assert words in text
    for words in ("At most 2,000.00 CNY", "estimate is 1,234.50 CNY", "A deposit of 200.00 CNY", "2,200.00 CNY in all"):
        assert words in text
    assert "binds until" in text
    assert "starts it until" in text


def test_equal_reasons_are_told_once_with_their_number() -> None:
    declined = order(exclusions=[("DISTANCE", 1_200)], declined=["CLOSED", "CLOSED", "TOO_DEAR"])
    assert list(pages.missing_lines(declined)) == [
        "left out: 1,200 too far away",
        "declined: it is closed at that time (2 times)",
        "declined: it could cost more than your limit",
    ]


def test_offers_are_shown_nearest_first_and_numbered_as_they_came() -> None:
    far, near = offer(Kind.ENERGY), offer(Kind.SERVICE)
    near = (OfferLine(near[0].digest, near[0].hold_minor, 10), replace(near[1], currency=Currency("CNY")))
    table = offers_table([far, near])
    assert list(table.columns[0].cells) == ["2", "1"]
