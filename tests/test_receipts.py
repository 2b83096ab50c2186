"""Receipts: sums that add up, corrections and rulings, a page that needs nothing outside and lets nothing in."""

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from energyshare.bodies import BillLine
from energyshare.errors import Reason, Rejected
from energyshare.records import replace
from energyshare.values import ChargeBasis, Dimension, Kind, Minor, OrderId
from terminals.user.cli import program
from terminals.user.receipt_html import receipt_html
from terminals.user.receipt_text import decimal_text, line_text, receipt_lines, sums
from terminals.user.receipts import Receipt, read_receipt, receipt_facts, shared, sum_of_lines, vat_of
from tests.journals import LOCK, WORKER, Customer
from tests.terminals_world import CNY, OUTLET


@pytest.fixture(scope="module")
def customer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    made = Customer(tmp_path_factory.mktemp("receipts") / "home")
    made.settled(OUTLET)
    made.claimed()
    made.settled(LOCK, incl_vat_minor=Minor(69))
    made.active(WORKER)
    yield made
    made.close()


def receipt(customer: Customer, number: int) -> Receipt:
    return read_receipt(customer.me, customer.me.numbered(number))


def run(customer: Customer, *arguments: str) -> Result:
    return CliRunner().invoke(program, [*arguments, "--home", str(customer.home)], prog_name="energyshare")


# Amounts


@examples(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**12),
    st.lists(st.fractions(min_value=0, max_value=10**9, max_denominator=10**6), min_size=1, max_size=8),
)
def test_shares_add_up_to_the_whole_and_are_within_one_of_their_weight(total: int, weights: list[Fraction]) -> None:
    shares = shared(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert not any(weights) or abs(share - total * weight / sum(weights)) < 1


@pytest.mark.parametrize(("total", "weights", "shares"), [(0, [], []), (7, [0, 0], [4, 3]), (10, [1, 1, 1], [4, 3, 3])])
def test_what_is_left_over_is_given_away(total: int, weights: list[int], shares: list[int]) -> None:
    assert shared(total, [Fraction(weight) for weight in weights]) == shares


def test_each_rate_of_vat_is_stated_and_the_sums_are_those_of_the_bill(customer: Customer) -> None:
    record = replace(
        receipt(customer, 1).record,
        lines=(
            BillLine(Dimension.FLAT, "1", "1", "30", "6", "3000"),
            BillLine(Dimension.ITEM, "2", "2", "4.5", "13", "900", "spare fuse"),
            BillLine(Dimension.ITEM, "1", "1", "1/3", "13", "100/3", "a third"),
        ),
        excl_vat_minor=Minor(3_933),
        incl_vat_minor=Minor(4_235),
    )
    rates = vat_of(record)
    assert [(vat.rate, vat.excl_vat_minor, vat.vat_minor) for vat in rates] == [("6", 3_000, 180), ("13", 933, 122)]


@pytest.mark.parametrize(
    ("excl_vat", "incl_vat", "basis", "words"),
    [
        (100, 106, ChargeBasis.END_RECEIPT, "the tariff's minimum price"),
        (50, 53, ChargeBasis.END_RECEIPT, "the tariff's maximum, or what was asked for"),
        (50, 53, ChargeBasis.RULING, "as the operator ruled"),
    ],
)
def test_where_a_limit_or_a_ruling_takes_the_place_of_the_lines_it_is_named_and_no_rate_is_claimed(
    customer: Customer, excl_vat: int, incl_vat: int, basis: ChargeBasis, words: str
) -> None:
    made = receipt(customer, 1)
    record = replace(made.record, excl_vat_minor=Minor(excl_vat), incl_vat_minor=Minor(incl_vat), basis=basis)
    limited = replace(made, bills=(*made.bills[:-1], replace(made.bills[-1], record=record)))
    total = sum_of_lines(record)[0]
    rows = sums(limited)[:4]
    assert [what for what, _ in rows] == ["sum of the lines", f"without VAT, {words}", "VAT", "total"]
    assert rows[0][1] == f"{total / 100:.2f} CNY"
    assert receipt_facts(limited)["vat"] == [{"rate": "", "excl_vat_minor": excl_vat, "vat_minor": incl_vat - excl_vat}]


@pytest.mark.parametrize(
    ("line", "written"),
    [
        (BillLine(Dimension.ENERGY, "1/3", "2000", "1.2", "13", "240"), ("energy", "2.0000 kWh", "1.2/kWh", "13 %", "2.4000")),
        (BillLine(Dimension.TIME, "1", "5400", "80", "6", "12000"), ("time", "1.5000 h", "80/h", "6 %", "120.0000")),
        (BillLine(Dimension.PARKING_TIME, "1", "60", "1", "0", "5/3"), ("standing idle", "0.0167 h", "1/h", "0 %", "0.0167")),
        (BillLine(Dimension.FLAT, "1", "1", "30", "6", "3000"), ("flat fee", "1", "30", "6 %", "30.0000")),
        (BillLine(Dimension.ITEM, "2", "2", "4.5", "13", "900", "fuse"), ("fuse", "2", "4.5", "13 %", "9.0000")),
        (BillLine(Dimension.ITEM, "2", "2", "4.5", "13", "900", "f\x1b[1m"), ("f�[1m", "2", "4.5", "13 %", "9.0000")),
    ],
)
def test_lines_are_written_in_the_units_of_their_prices(line: BillLine, written: tuple[str, ...]) -> None:
    found = line_text(line, CNY)
    assert (found.what, found.volume, found.price, found.vat, found.excl_vat) == written


def test_fractions_are_written_without_floats() -> None:
    assert decimal_text(Fraction(10**20 + 1, 1), 2) == "100,000,000,000,000,000,001.00"


# What a receipt says


def test_a_receipt_says_what_was_delivered_what_it_costs_and_that_it_was_recomputed(customer: Customer) -> None:
    text = "\n".join(receipt_lines(receipt(customer, 1)))
    for words in ("energy at Depot/outlet-1, for alice", "30 min, 500 Wh", "0.5000 kWh", "1.2/kWh"):
        assert words in text
    assert re.search(r"without VAT +0\.60 CNY", text)
    assert re.search(r"VAT 13 % on 0\.60 CNY +0\.08 CNY", text)
    assert re.search(r"total +0\.68 CNY", text)
    assert re.search(r"held at most +2\.72 CNY", text)
    assert "billed by the end receipt that the device signed" in text
    assert "recomputed on this terminal: yes" in text
    assert all(len(line) <= 80 for line in receipt_lines(receipt(customer, 1)))


def test_a_corrected_bill_names_claim_ruling_and_what_it_replaces(customer: Customer) -> None:
    found = receipt(customer, 2)
    text = "\n".join(receipt_lines(found))
    assert (len(found.bills), found.paid_minor, found.deposit_back_minor) == (2, 3_068, 17_000)
    assert re.search(r"deposit kept by the provider +30\.00 CNY", text)
    assert re.search(r"deposit back +170\.00 CNY", text)
    assert "the provider claimed 50.00 CNY: the <b>handle</b> is broken & gone" in text
    assert "30.00 CNY of it are paid: half of it was old" in text
    assert "replaces the bill of" in text
    assert "billed by the operator's ruling" in text
    assert "100 % charged, 100 % healthy; back: 75 % charged" in text


def test_a_claim_that_waits_for_its_ruling_is_still_held(customer: Customer) -> None:
    found = receipt(customer, 2)
    waiting = replace(found, bills=found.bills[:1], rulings=(), disputed_minor=5_000)
    assert waiting.deposit_back_minor == 15_000
    assert re.search(r"disputed, until the operator rules +50\.00 CNY", "\n".join(receipt_lines(waiting)))


def test_the_deposit_of_a_battery_that_stayed_away_is_not_called_back_yet(customer: Customer) -> None:
    found = receipt(customer, 2)
    record = replace(found.bills[0].record, basis=ChargeBasis.CAP)
    away = replace(found, bills=(replace(found.bills[0], record=record),), claims=(), rulings=())
    text = "\n".join(receipt_lines(away))
    assert "deposit held for 7 days, for the provider's word" in text
    assert "the caps, because the battery was not brought back in time" in text


def test_a_bill_that_does_not_follow_is_said_to_be_wrong(customer: Customer) -> None:
    found = receipt(customer, 3)
    assert isinstance(found.fault, Rejected)
    assert "recomputed on this terminal: NO, the bill's amounts do not follow" in "\n".join(receipt_lines(found))
    assert 'class="proof no"' in receipt_html(found)


def test_there_is_no_receipt_before_a_bill(customer: Customer) -> None:
    with pytest.raises(Rejected) as refused:
        receipt(customer, 4)
    assert refused.value.reason is Reason.WRONG_STATE


# The page


class Page(HTMLParser):
    """Reads a page: what it links to, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        assert tag not in ("script", "link", "iframe", "object", "img", "b")
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_page_is_whole_and_needs_nothing_outside_it(customer: Customer, number: int) -> None:
    text = receipt_html(receipt(customer, number))
    assert Page(text).links == []
    assert not re.search(r"https?:|url\(|@import|<script", text)
    assert "size: A4" in text


def test_the_page_shows_each_hash_and_escapes_what_others_wrote(customer: Customer) -> None:
    found = receipt(customer, 2)
    page = Page(receipt_html(found))
    for _, digest in found.parts:
        assert digest.hex() in page.text
    assert found.bills[-1].digest.hex() in page.text
    assert "the <b>handle</b> is broken & gone" in page.text


@pytest.mark.parametrize("nasty", ["</style><script>alert(1)</script>", '"><img src=x>', "&lt;", "\x00\x1b[2J"])
def test_no_name_gets_out_of_its_place_on_the_page(customer: Customer, nasty: str) -> None:
    found = receipt(customer, 1)
    asset = replace(found.offer.asset, station=nasty, name=nasty)
    page = Page(receipt_html(replace(found, name=nasty, offer=replace(found.offer, asset=asset))))
    assert nasty.replace("\x00", "�").replace("\x1b", "�") in page.text


# The command


def test_the_command_prints_text_facts_or_a_page(customer: Customer, tmp_path: Path) -> None:
    assert run(customer, "receipt", "1").stdout.splitlines() == receipt_lines(receipt(customer, 1))
    facts = json.loads(run(customer, "receipt", "2", "--json").stdout)
    assert facts == json.loads(json.dumps(receipt_facts(receipt(customer, 2)))) | {"html": None}
    file = tmp_path / "two.html"
    done = run(customer, "receipt", "2", "--html", str(file))
    assert (done.exit_code, done.stdout) == (0, f"Written to {file}; print it with a browser.\n")
    assert file.read_text() == receipt_html(receipt(customer, 2))


def test_facts_tell_every_line_rate_ruling_and_hash(customer: Customer) -> None:
    facts = receipt_facts(receipt(customer, 2))
    assert facts["vat"] == [{"rate": "13", "excl_vat_minor": 60, "vat_minor": 8}]
    assert facts["lines"][0]["billed_volume"] == "500"
    assert (facts["kind"], facts["basis"], facts["proved"]) == (Kind.BATTERY.name, "RULING", True)
    assert facts["rulings"][0]["charged_minor"] == 3_000
    assert len(facts["corrects"]) == 1
    assert {part["part"] for part in facts["evidence"]} >= {"OFFER", "VOUCHER", "END_RECEIPT", "RULING"}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("receipt", "3"), 1, "the bill's amounts do not follow"),
        (("receipt", "4"), 1, "the order is not at that point (state ACTIVE)"),
        (("receipt", "9"), 1, "there is no such order (order 9)"),
        (("receipt", "1", "--html", "/nowhere/at/all.html"), 1, "No such file or directory"),
        (("receipt", "1", "--html"), 2, "--html"),
        (("receipt", "zero"), 2, "zero"),
    ],
)
def test_what_can_not_be_shown_is_said(customer: Customer, arguments: tuple[str, ...], status: int, words: str) -> None:
    done = run(customer, *arguments) if arguments[-1] != "--html" else CliRunner().invoke(program, arguments)
    assert done.exit_code == status
    assert words in done.stderr


def test_receipts_are_told_apart_by_their_order(customer: Customer) -> None:
    ids = {receipt(customer, number).order_id for number in (1, 2, 3)}
    assert ids == {OrderId(order_id) for order_id, order in customer.me.orders() if order.number < 4}
