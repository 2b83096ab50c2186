"""Evidence as a file: the vectors and their outcomes, and the commands that write and check one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from energyshare.derivation import derivation
from energyshare.evidence import verify_file
from energyshare.program import Program
from energyshare.values import Minor, PublicKey
from terminals.user import verifying, viewing
from tests.cloud.actors import STRANGER_ROOT
from tests.evidence_vectors import DAMAGED, FOLDER, FORGED, VALID, outcome_of, vectors
from tests.journals import LOCK, Customer
from tests.terminals_world import OUTLET

ROOT_HEX = FOLDER / "root.hex"
INDEX: dict[str, dict[str, Any]] = json.loads((FOLDER / "index.json").read_bytes())


# Vectors


def test_the_script_writes_the_vectors_byte_for_byte() -> None:
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == vectors()


def test_there_are_enough_of_them_for_another_verifier() -> None:
    assert (len(VALID), len(FORGED) + len(DAMAGED)) >= (25, 25)
    assert {path.stem for path in FOLDER.glob("*.bundle")} == INDEX.keys()


@pytest.mark.parametrize("name", INDEX)
def test_a_vector_has_the_outcome_that_its_name_says(name: str) -> None:
    outcome = outcome_of((FOLDER / f"{name}.bundle").read_bytes())
    assert outcome == INDEX[name]
    said = "valid" if outcome["code"] is None else outcome["code"].lower().replace("_", "-")
    assert f"{name}-".startswith(f"{said}-")


# The derivation


def told(name: str) -> dict[str, list[str]]:
    """What a derivation says, by what it is about."""
    proof = verify_file((FOLDER / f"valid-{name}.bundle").read_bytes(), PublicKey(bytes.fromhex(ROOT_HEX.read_text())))
    said: dict[str, list[str]] = {}
    for step in derivation(proof):
        said.setdefault(step.about, []).append(step.text)
    return said


def test_a_bill_is_told_line_by_line_to_the_last_minor_unit() -> None:
    said = told("energy-end-receipt-in-steps")
    assert said["line"] == [
        "ENERGY: 3301 Wh in steps of 500 Wh billed as 3500 Wh × 1.2/kWh = 4.2 CNY without VAT, VAT 13 %",
        "PARKING_TIME: 1200 s in steps of 900 s billed as 1800 s × 6/h = 3 CNY without VAT, VAT 13 %",
    ]
    assert said["sum"] == ["7.2 CNY without VAT, 8.136 CNY with VAT, exactly"]
    assert said["rounded"] == ["7.20 CNY without VAT, 8.14 CNY with VAT, half up, once each"]
    assert said["total"] == ["8.14 CNY, of it VAT 0.94 CNY; basis: end receipt"]
    assert said["hold"] == ["8.14 CNY of 20.34 CNY are paid"]


@pytest.mark.parametrize(
    ("name", "about", "words"),
    [
        ("energy-end-receipt", "offer", "signed by provider (key 23ad96fa01ff88ac)"),
        ("energy-end-receipt", "selection", "8.14 CNY held at most"),
        ("energy-end-receipt", "end", "released by the user; signed by device"),
        ("energy-end-receipt-lowered-by-the-provider", "because", "the provider asked for no more"),
        ("energy-end-receipt-on-silence", "silence", "no confirmation until 2026-11-22 11:10:00 UTC"),
        ("energy-flat-and-minimum", "limit", "the tariff's minimum or maximum price takes the place of the sum"),
        ("battery-cap-not-returned", "deposit", "50.00 CNY claimed of it"),
        ("battery-cap-not-returned", "corrects", "the bill of 2026-11-22 13:00:00 UTC over 5.65 CNY"),
        ("battery-ruling-on-a-claim", "claim", "10.00 CNY of the deposit: the handle is broken"),
        ("service-quote-amended", "amendment", "954.00 CNY more at most; refused by the user"),
        ("service-quote-refused-in-part", "answer", "21.20 CNY of it refused; signed by user"),
        ("service-quote-never-acknowledged", "because", "the request never reached the user: at most the quote"),
        ("service-ruling-on-a-refusal", "because", "the operator ruled: the meter was read"),
    ],
)
def test_each_step_names_who_signed_it_and_why(name: str, about: str, words: str) -> None:
    assert any(words in text for text in told(name)[about])


@pytest.mark.parametrize("name", VALID)
def test_every_bill_can_be_told(name: str) -> None:
    assert {"order", "offer", "selection", "voucher", "start", "session", "total", "hold", "record"} <= told(name).keys()


# The commands


@click.group(cls=Program)
def program() -> None:
    """The commands on trial."""


verifying.register(program)
viewing.register(program)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(program, arguments, prog_name="energyshare")


def test_a_bundle_that_holds_is_told_with_a_root_s_file_alone(tmp_path: Path) -> None:
    file = FOLDER / "valid-energy-end-receipt.bundle"
    done = run("verify", str(file), "--root", str(ROOT_HEX), "--home", str(tmp_path / "none"))
    assert (done.exit_code, done.stderr) == (0, "")
    assert "holds; the bill follows from the signed evidence" in done.stdout.replace("\n", " ")
    assert not (tmp_path / "none").exists()
    facts = json.loads(run("verify", str(file), "--root", str(ROOT_HEX), "--json").stdout)
    assert (facts["verified"], facts["incl_vat_minor"], facts["basis"]) == (True, 407, "END_RECEIPT")
    assert facts["derivation"][0]["about"] == "order"


@pytest.mark.parametrize("name", ["offer-signature-by-another-provider", "bill-total-one-minor-unit-more"])
def test_one_that_does_not_ends_with_1_and_what_is_wrong(name: str) -> None:
    file = FOLDER / f"{name}.bundle"
    done = run("verify", str(file), "--root", str(ROOT_HEX))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"energyshare: error: {file}: ")
    assert f"[{INDEX[name]['code']}]\nenergyshare: hint: " in done.stderr
    facts = json.loads(run("verify", str(file), "--root", str(ROOT_HEX), "--json").stdout)
    assert (facts["verified"], facts["code"]) == (False, INDEX[name]["code"])


@pytest.fixture(scope="module")
def customer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    made = Customer(tmp_path_factory.mktemp("verify") / "home")
    made.settled(OUTLET)
    made.claimed()
    made.settled(LOCK, incl_vat_minor=Minor(69))
    yield made
    made.close()


@pytest.mark.parametrize("number", [1, 2])
def test_a_receipt_s_evidence_is_written_and_checked(customer: Customer, tmp_path: Path, number: int) -> None:
    file, home = tmp_path / "receipt.bundle", str(customer.home)
    written = run("receipt", str(number), "--out", str(file), "--home", home)
    assert (written.exit_code, written.stderr) == (0, "")
    assert "energyshare verify" in written.stdout
    done = run("verify", str(file), "--home", home)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "the user's key is this home's" in done.stdout
    again = tmp_path / "again.bundle"
    facts = json.loads(run("receipt", str(number), "--out", str(again), "--json", "--home", home).stdout)
    assert (facts["out"], again.read_bytes()) == (str(again), file.read_bytes())


def test_evidence_of_a_bill_that_does_not_hold_is_written_too(customer: Customer, tmp_path: Path) -> None:
    file = tmp_path / "wrong.bundle"
    assert run("receipt", "3", "--out", str(file), "--home", str(customer.home)).exit_code == 1
    assert "[BILL_TOTAL]" in run("verify", str(file), "--home", str(customer.home)).stderr


def test_another_cloud_s_bundle_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root.pub"
    root.write_text(STRANGER_ROOT.public.hex())
    done = run("verify", str(FOLDER / "valid-energy-end-receipt.bundle"), "--root", str(root))
    assert (done.exit_code, "[PLATFORM_GRANT_SIGNATURE]" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "[BUNDLE_MALFORMED]"),
        (b"%PDF-1.7", "[BUNDLE_MALFORMED]"),
        (b"\x00" * (8 * 2**20 + 1), "is longer than 8388608 bytes"),
        (None, "No such file"),
    ],
    ids=["empty", "something else", "too large", "none"],
)
def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "file.bundle"
    if content is not None:
        file.write_bytes(content)
    done = run("verify", str(file), "--root", str(ROOT_HEX))
    assert (done.exit_code, words in done.stderr) == (1, True)


@pytest.mark.parametrize("content", ["", "xyz", "ab" * 31, "é" * 64], ids=["empty", "no hex", "short", "no ASCII"])
def test_a_root_is_64_hexadecimal_digits(tmp_path: Path, content: str) -> None:
    root = tmp_path / "root.pub"
    root.write_text(content)
    done = run("verify", str(FOLDER / "valid-service-quote.bundle"), "--root", str(root))
    assert (done.exit_code, "64 hexadecimal digits" in done.stderr) == (1, True)


def test_a_home_that_is_not_enrolled_has_no_root(tmp_path: Path) -> None:
    done = run("verify", str(FOLDER / "valid-service-quote.bundle"), "--home", str(tmp_path / "home"))
    assert (done.exit_code, "is not enrolled" in done.stderr) == (1, True)
