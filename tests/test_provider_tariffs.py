"""Tariffs that others send as OCPI: what is taken, written as it came, or refused with its place."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from energyshare.tariff import tariff_of
from terminals.provider.cli import program

Object = dict[str, Any]


def tariff(**changes: Any) -> Object:
    parts = [{"type": "ENERGY", "price": 1.2, "vat": 13.0, "step_size": 1}]
    whole = {"country_code": "NL", "party_id": "BEC", "id": "day 1", "currency": "EUR", "last_updated": "2026-01-01T00:00:00Z"}
    return whole | {"elements": [{"price_components": parts}]} | changes


def response(*tariffs: Object, **changes: Any) -> Object:
    return {"data": list(tariffs), "status_code": 1000, "timestamp": "2026-01-01T00:00:00Z"} | changes


def take(folder: Path, given: object, *more: str, status: int = 0) -> str:
    text = given if isinstance(given, str) else json.dumps(given)
    arguments = ["tariff", "import", "-", "--name", "partner", "--beside", str(folder), *more]
    done = CliRunner().invoke(program, arguments, input=text, prog_name="energyshare-provider")
    assert done.exit_code == status, done.output
    return done.output


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("given", [tariff(), [tariff()], response(tariff()), {"data": tariff()}])
def test_one_tariff_gets_the_name(tmp_path: Path, given: object) -> None:
    said = take(tmp_path, given)
    assert files(tmp_path) == ["partner.json"]
    assert tariff_of((tmp_path / "partner.json").read_bytes().strip()).currency == "EUR"
    assert '[[tariffs]]\nname = "partner"\nfile = "partner.json"' in said
    assert "Next: energyshare-provider lint CONFIG.toml" in said


def test_several_get_their_ids_behind_the_name(tmp_path: Path) -> None:
    take(tmp_path, response(tariff(), tariff(id="NL*BEC*Night"), tariff(id=None)))
    assert files(tmp_path) == ["partner-3.json", "partner-day-1.json", "partner-nl-bec-night.json"]


def test_numbers_are_written_as_they_came(tmp_path: Path) -> None:
    text = json.dumps(tariff()).replace("1.2", "0.100001").replace("13.0", "13.50")
    take(tmp_path, text)
    written = (tmp_path / "partner.json").read_text()
    assert '"price":0.100001,"vat":13.50,"step_size":1' in written


def test_the_files_lie_beside_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "depot.toml"
    config.touch()
    said = take(config, tariff())
    assert files(tmp_path) == ["depot.toml", "partner.json"]
    assert f"Next: energyshare-provider lint {config}" in said


def test_what_may_surprise_is_told(tmp_path: Path) -> None:
    parts = [{"type": "ENERGY", "price": 1.2, "step_size": 50_000}]
    given = tariff(elements=[{"price_components": parts}])
    facts = json.loads(take(tmp_path, given, "--json"))
    assert (facts[0]["name"], facts[0]["file"]) == ("partner", str(tmp_path / "partner.json"))
    assert facts[0]["findings"]


def test_a_file_that_is_there_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    take(tmp_path, tariff())
    assert "nothing was written" in take(tmp_path, tariff(currency="CHF"), status=1)
    assert b"EUR" in (tmp_path / "partner.json").read_bytes()
    take(tmp_path, tariff(currency="CHF"), "--replace")
    assert b"CHF" in (tmp_path / "partner.json").read_bytes()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("no JSON", "this is not JSON"),
        ('{"currency":"EUR","currency":"CNY","elements":[]}', "a field is there twice"),
        ([], "this holds 0 tariffs"),
        ([tariff()] * 101, "this holds 101 tariffs"),
        ([tariff(), tariff()], "the same id"),
        ([1], "this is no OCPI tariff"),
        ({"status": "fine"}, "this is no OCPI tariff"),
        (response(status_code=2001, status_message="Invalid"), "the response tells of an error: 2001 Invalid"),
        (tariff(elements=[]), "elements: has 0 items"),
        (response(tariff(), tariff(id="b", tax_included="YES")), "[1].tax_included: is a field of OCPI 2.3.0"),
        (response(tariff(), tariff(id="b", currency="euro")), "[1].currency: must be an ISO 4217 code"),
    ],
)
def test_what_can_not_be_priced_is_refused_and_nothing_is_written(tmp_path: Path, given: object, words: str) -> None:
    assert words in take(tmp_path, given, status=1)
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["", "../partner", "a/b", "-x", "x" * 65])
def test_a_name_is_that_of_a_file_too(tmp_path: Path, name: str) -> None:
    take(tmp_path, tariff(), "--name", name, status=2)
    assert files(tmp_path) == []


def test_there_has_to_be_a_directory(tmp_path: Path) -> None:
    assert "there is no directory" in take(tmp_path / "none" / "depot.toml", tariff(), status=1)
