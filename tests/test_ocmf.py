"""OCMF: records of others are checked, malformed ones refused with their path, and a session is written as a record."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.requests import new_key_and_request
from energyshare.errors import Rejected
from energyshare.ocmf import Fault, OcmfError, parse
from energyshare.ocmf_export import record_of
from energyshare.ocmf_files import FILE_BYTES_MAX
from energyshare.ocmf_keys import CURVES, key_text, public_key, public_pem, verify
from energyshare.ocmf_readings import TimeQuality
from energyshare.ocmf_verification import Examined, examine
from energyshare.program import Program
from energyshare.records import replace
from energyshare.values import ClockQuality
from terminals.user import payment
from terminals.user.commands import ocmf as ocmf_commands
from tests.journals import LOCK, WORKER, Customer
from tests.terminals_world import OUTLET

P256 = "ECDSA-secp256r1-SHA256"
KEYS = {algorithm: ec.generate_private_key(curve()) for algorithm, curve in CURVES.items()}
KEY = KEYS[P256]
PUBLIC = public_pem(KEY.public_key())

BEGIN: Mapping[str, Any] = {
    "TM": "2026-11-22T10:00:00,000+0100 S",
    "TX": "B",
    "RV": 7.5,
    "RI": "1-b:1.8.0",
    "RU": "kWh",
    "EF": "",
    "ST": "G",
}
END: Mapping[str, Any] = {"TM": "2026-11-22T10:30:00,250+0100 S", "TX": "E", "RV": 9.25}
PAYLOAD: Mapping[str, Any] = {
    "FV": "1.0",
    "GI": "a gateway",
    "GS": "G-1",
    "PG": "T12",
    "MS": "M-1",
    "IS": True,
    "IF": ["RFID_PLAIN"],
    "IT": "ISO14443",
    "ID": "1F2D3A4F5506C7",
    "RD": [BEGIN, END],
}


def payload(**changes: Any) -> str:
    """The payload with changes; None leaves a field out."""
    return json.dumps({name: value for name, value in {**PAYLOAD, **changes}.items() if value is not None})


def signed(text: str, algorithm: str = P256, **changes: Any) -> str:
    """A record over a payload; `changes` are of its signature section."""
    signature = KEYS[algorithm].sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    return f"OCMF|{text}|{json.dumps({'SA': algorithm, 'SD': signature.hex()} | changes)}"


def reading(**changes: Any) -> dict[str, Any]:
    """The first reading with changes."""
    return {name: value for name, value in {**BEGIN, **changes}.items() if value is not None}


def examined(*records: str, key: bytes | None = PUBLIC) -> Examined:
    """What comes of some records."""
    return examine("\n".join(records).encode(), key)


def fault(*records: str, key: bytes | None = PUBLIC) -> tuple[str, str] | None:
    """The first thing that does not hold, and where."""
    faults = examined(*records, key=key).faults
    return (faults[0].fault, faults[0].path) if faults else None


def container(*values: str) -> str:
    """An XML container."""
    return f'<?xml version="1.0"?><values>{"".join(f"<value>{value}</value>" for value in values)}</values>'


# What holds


@pytest.mark.parametrize("algorithm", CURVES)
def test_a_record_of_each_curve_verifies_and_says_what_was_delivered(algorithm: str) -> None:
    found = examined(signed(payload(), algorithm), key=public_pem(KEYS[algorithm].public_key()))
    [outcome], [delivered] = found.outcomes, found.delivered
    assert (outcome.fault, outcome.is_authentic, outcome.remarks) == (None, True, ())
    assert (delivered.amount, delivered.unit, delivered.obis) == (Decimal("1.75"), "kWh", "1-b:1.8.0")
    assert found.incomplete == ()


def test_a_reading_that_leaves_fields_out_has_those_of_the_one_before_and_values_are_exact() -> None:
    text = payload().replace("9.25", "9.250")
    begin, end = parse(signed(text)).readings
    assert (begin.time, begin.quality) == (1_795_338_000_000_000, TimeQuality.SYNCHRONIZED)
    assert (end.time - begin.time, end.unit, end.status) == (1_800_250_000, "kWh", "G")
    assert (str(end.value), end.energy_wh) == ("9.250", Decimal(9_250))


def test_the_signature_covers_the_bytes_as_they_stand() -> None:
    spaced = json.dumps(json.loads(payload()), indent=2)
    assert fault(signed(spaced)) is None
    assert fault(signed(spaced).replace("\n", "")) == (Fault.SIGNATURE, "")
    assert fault(f"  {signed(spaced)} \n") is None


def test_a_record_without_an_algorithm_is_of_p256() -> None:
    record = signed(payload())
    assert fault(record.replace(f'"SA": "{P256}", ', "")) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda key: key_text(key).encode(),
        lambda key: b" ".join([key_text(key)[:8].upper().encode(), key_text(key)[8:].encode()]),
        lambda key: b64encode(bytes.fromhex(key_text(key))),
        lambda key: bytes.fromhex(key_text(key)),
        lambda key: key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        lambda key: key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
        lambda key: key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:].hex().encode(),
    ],
    ids=["hex", "hex in groups", "base64", "DER", "point", "compressed point", "bare coordinates"],
)
def test_a_key_is_read_in_each_form_that_people_hand_it_on(write: Callable[[ec.EllipticCurvePublicKey], bytes]) -> None:
    assert public_key(write(KEY.public_key()), ec.SECP256R1) == KEY.public_key()
    assert fault(signed(payload()), key=write(KEY.public_key())) is None


def test_a_signature_in_base64_or_not_quite_der_holds_and_the_second_is_noted() -> None:
    der = KEY.sign(payload().encode(), ec.ECDSA(hashes.SHA256()))
    halves = [number.to_bytes(32, "big") for number in decode_dss_signature(der)]
    unsigned = b"\x30\x44" + b"".join(b"\x02\x20" + half for half in halves)
    for changes in ({"SE": "base64", "SD": b64encode(der).decode()}, {"SE": "hex", "SM": "application/x-der", "SD": der.hex()}):
        [outcome] = examined(signed(payload(), **changes)).outcomes
        assert (outcome.fault, outcome.remarks) == (None, ())
    [outcome] = examined(signed(payload(), SD=b"".join(halves).hex())).outcomes
    assert (outcome.fault, outcome.remarks) == (None, ("signature.SD is not written as DER has it",))
    assert fault(signed(payload(), SD=unsigned.hex())) is None


def test_what_real_meters_write_beside_the_format_is_read_and_noted() -> None:
    odd = payload(MS=None, XV=1, VA="", RD=[reading(RV="      7.500", EI=3), {**END, "RV": "9.25"}])
    found = examined(signed(odd))
    [outcome] = found.outcomes
    assert outcome.fault is None
    assert outcome.remarks[0].startswith("MS is missing")
    assert outcome.remarks[1:] == tuple(f"RD[{i}].RV is a number written as a text" for i in (0, 1))
    assert outcome.record
    assert outcome.record.unread == ("XV", "VA", "RD[0].EI")
    assert found.delivered[0].amount == Decimal("1.75")


# What does not


def test_every_byte_of_the_payload_that_changes_breaks_the_record() -> None:
    record = signed(payload())
    for place in range(record.rindex("|")):
        changed = record[:place] + chr(ord(record[place]) ^ 1) + record[place + 1 :]
        with pytest.raises(OcmfError):
            verify(parse(changed), KEY.public_key())


def test_no_byte_of_the_signature_section_that_changes_lets_another_payload_pass() -> None:
    record = signed(payload())
    for place in range(record.rindex("|"), len(record)):
        for bit in (1, 32):
            changed = record[:place] + chr(ord(record[place]) ^ bit) + record[place + 1 :]
            [outcome] = examined(f"OCMF{changed[4:]}").outcomes
            assert not outcome.is_authentic or (outcome.record and outcome.record.signed == payload().encode())


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (lambda: "OCMF|{}", (Fault.FORMAT, "")),
        (lambda: signed(payload()) + "|{}", (Fault.FORMAT, "")),
        (lambda: signed("[]"), (Fault.FORMAT, "payload")),
        (lambda: signed("{"), (Fault.FORMAT, "payload")),
        (lambda: signed('{"FV":"1.0","FV":"1.0"}'), (Fault.FORMAT, "payload")),
        (lambda: signed('{"RV":NaN}'), (Fault.FORMAT, "payload")),
        (lambda: signed("[" * 100_000), (Fault.FORMAT, "payload")),
        (lambda: f"OCMF|{payload()}|SD", (Fault.FORMAT, "signature")),
        (lambda: f"OCMF|{payload()}|" + "{}", (Fault.FORMAT, "signature.SD")),
        (lambda: signed(payload(), SD="xy"), (Fault.FORMAT, "signature.SD")),
        (lambda: signed(payload(), SD="3000"), (Fault.FORMAT, "signature.SD")),
        (lambda: signed(payload(), SD="abcd"), (Fault.FORMAT, "signature.SD")),
        (lambda: signed(payload(), SD="!", SE="base64"), (Fault.FORMAT, "signature.SD")),
        (lambda: signed(payload(), SE="raw"), (Fault.FORMAT, "signature.SE")),
        (lambda: signed(payload(), SM="text/plain"), (Fault.FORMAT, "signature.SM")),
        (lambda: signed(payload(), SB=1), (Fault.FORMAT, "signature.SB")),
        (lambda: signed(payload(), SA="ECDSA-secp192k1-SHA256"), (Fault.ALGORITHM, "signature.SA")),
        (lambda: signed(payload(), SA=""), (Fault.ALGORITHM, "signature.SA")),
        (lambda: signed(payload(), SA=1), (Fault.FORMAT, "signature.SA")),
        (lambda: signed(payload(), SD=f"30440220{'00' * 32}0220{'00' * 32}"), (Fault.SIGNATURE, "")),
        (lambda: signed(payload(), "ECDSA-secp256k1-SHA256"), (Fault.KEY, "")),
    ],
)
def test_a_record_whose_sections_or_signature_are_wrong_is_refused(
    record: Callable[[], str], expected: tuple[str, str]
) -> None:
    assert fault(record()) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"FV": "2.0"}, (Fault.FORMAT, "FV")),
        ({"FV": 1.0}, (Fault.FORMAT, "FV")),
        ({"PG": None}, (Fault.FORMAT, "PG")),
        ({"PG": "T012"}, (Fault.FORMAT, "PG")),
        ({"PG": "X1"}, (Fault.FORMAT, "PG")),
        ({"PG": "T" + "9" * 40}, (Fault.FORMAT, "PG")),
        ({"PG": "T١"}, (Fault.FORMAT, "PG")),
        ({"GS": None, "MS": None}, (Fault.FORMAT, "MS")),
        ({"MS": 5}, (Fault.FORMAT, "MS")),
        ({"GI": "a\u202eb"}, (Fault.FORMAT, "GI")),
        ({"GI": "x" * 300}, (Fault.FORMAT, "GI")),
        ({"ID": "\ud800"}, (Fault.FORMAT, "ID")),
        ({"IS": "true"}, (Fault.FORMAT, "IS")),
        ({"IF": "RFID_PLAIN"}, (Fault.FORMAT, "IF")),
        ({"IF": [1]}, (Fault.FORMAT, "IF[0]")),
        ({"IF": ["A"] * 5}, (Fault.FORMAT, "IF")),
        ({"LC": 3}, (Fault.FORMAT, "LC")),
        ({"LC": {"LR": 2}}, (Fault.FORMAT, "LC")),
        ({"LC": {"LR": -2, "LU": "mOhm"}}, (Fault.VALUE, "LC.LR")),
        ({"LC": {"LR": 2, "LU": "Ohm"}}, (Fault.FORMAT, "LC.LU")),
        ({"RD": None}, (Fault.FORMAT, "RD")),
        ({"RD": []}, (Fault.FORMAT, "RD")),
        ({"RD": {}}, (Fault.FORMAT, "RD")),
        ({"RD": [1]}, (Fault.FORMAT, "RD[0]")),
    ],
)
def test_a_payload_that_is_malformed_is_refused_with_its_path(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    assert fault(signed(payload(**changes))) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"TM": None}, (Fault.FORMAT, "TM")),
        ({"TM": "2026-11-22T10:00:00,000+0100"}, (Fault.FORMAT, "TM")),
        ({"TM": "2026-11-22T10:00:00.000+01:00 S"}, (Fault.FORMAT, "TM")),
        ({"TM": "2026-02-30T10:00:00,000+0100 S"}, (Fault.FORMAT, "TM")),
        ({"TM": "2026-11-22T10:00:00,000+9900 S"}, (Fault.FORMAT, "TM")),
        ({"TM": "0001-01-01T00:00:00,000+0100 S"}, (Fault.VALUE, "TM")),
        ({"TM": "9999-12-31T23:59:59,000-0100 S"}, (Fault.VALUE, "TM")),
        ({"TX": None}, (Fault.FORMAT, "TX")),
        ({"TX": "Z"}, (Fault.FORMAT, "TX")),
        ({"RV": None}, (Fault.FORMAT, "RV")),
        ({"RV": True}, (Fault.FORMAT, "RV")),
        ({"RV": "0x10"}, (Fault.FORMAT, "RV")),
        ({"RV": ""}, (Fault.FORMAT, "RV")),
        ({"RV": -0.001}, (Fault.VALUE, "RV")),
        ({"RV": 10**12 + 1}, (Fault.VALUE, "RV")),
        ({"RV": 10**400}, (Fault.FORMAT, "RV")),
        ({"RV": 1e-13}, (Fault.VALUE, "RV")),
        ({"CL": -1}, (Fault.VALUE, "CL")),
        ({"RI": None}, (Fault.FORMAT, "RI")),
        ({"RU": None}, (Fault.FORMAT, "RI")),
        ({"RI": None, "RU": None}, (Fault.FORMAT, "RI")),
        ({"RI": "energy"}, (Fault.FORMAT, "RI")),
        ({"RU": ""}, (Fault.FORMAT, "RI")),
        ({"RT": "XC"}, (Fault.FORMAT, "RT")),
        ({"EF": "Q"}, (Fault.FORMAT, "EF")),
        ({"ST": None}, (Fault.FORMAT, "ST")),
        ({"ST": "?"}, (Fault.FORMAT, "ST")),
        ({"ST": "M"}, (Fault.STATUS, "ST")),
        ({"EF": "Et"}, (Fault.ERROR_FLAGS, "EF")),
        ({"TX": "X"}, (Fault.ERROR_FLAGS, "TX")),
        ({"RV": None, "ST": "T"}, (Fault.STATUS, "ST")),
    ],
)
def test_a_reading_that_is_malformed_or_not_usable_is_refused_with_its_path(
    changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert fault(signed(payload(RD=[reading(**changes)]))) == (expected[0], f"RD[0].{expected[1]}")


def test_a_reading_outside_of_any_transaction_names_none() -> None:
    assert fault(signed(payload(PG="F1", RD=[reading(TX=None)]))) is None
    assert fault(signed(payload(PG="F1"))) == (Fault.FORMAT, "RD[0].TX")


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([BEGIN, {**END, "RV": 7.25}], (Fault.VALUE_FALLS, "RD[1].RV")),
        ([BEGIN, {**END, "RV": 7_499, "RI": "1-b:1.8.0", "RU": "Wh"}], (Fault.VALUE_FALLS, "RD[1].RV")),
        ([BEGIN, {**END, "RV": 7_500, "RI": "1-b:1.8.0", "RU": "Wh"}], None),
        ([BEGIN, {**END, "RI": "1-b:1.8.0", "RU": "sec"}], (Fault.VALUE, "RD[1].RU")),
        ([BEGIN, {**END, "RV": 1, "RI": "1-b:2.8.0", "RU": "kWh"}], None),
        ([reading(RU="W"), {**END, "RV": 1}], None),
        ([BEGIN, {**END, "TM": "2026-11-22T09:59:59,999+0100 S"}], (Fault.TIME_FALLS, "RD[1].TM")),
        ([reading(TM="2026-11-22T10:00:00,000+0100 U"), {**END, "TM": "2026-11-22T09:00:00,000+0100 S"}], None),
        ([BEGIN, BEGIN], (Fault.TRANSACTION, "RD[1].TX")),
        ([BEGIN, {**END, "TX": "C"}, BEGIN], (Fault.TRANSACTION, "RD[2].TX")),
        ([BEGIN, END, {**END, "TX": "C"}], (Fault.TRANSACTION, "RD[2].TX")),
        ([BEGIN, {**END, "TX": "T"}, {**END, "TX": "P"}], None),
    ],
)
def test_readings_that_contradict_one_another_are_refused(
    readings: list[Mapping[str, Any]], expected: tuple[str, str] | None
) -> None:
    assert fault(signed(payload(RD=readings))) == expected


# Several records


def pages(*changes: Mapping[str, Any]) -> list[str]:
    """A transaction over several records, one reading each."""
    readings = [BEGIN, {**BEGIN, **END, "TX": "C"}, {**BEGIN, **END}]
    return [
        signed(payload(**{"PG": f"T{12 + index}", "RD": [one]} | dict(changed)))
        for index, (one, changed) in enumerate(zip(readings, changes, strict=True))
    ]


def test_a_transaction_over_several_records_is_one() -> None:
    found = examined(*pages({}, {}, {}))
    assert found.faults == ()
    [delivered] = found.delivered
    assert (str(delivered.first), str(delivered.last), delivered.amount) == ("T12", "T14", Decimal("1.75"))


@pytest.mark.parametrize(
    ("changes", "place", "expected"),
    [
        (({}, {"PG": "T14"}, {"PG": "T15"}), "record 2", (Fault.PAGINATION, "PG")),
        (({}, {"PG": "T12"}, {"PG": "T13"}), "record 2", (Fault.PAGINATION, "PG")),
        (({}, {"MS": "M-2"}, {}), "record 2", (Fault.SOURCE, "MS")),
        (({}, {}, {"RD": [{**BEGIN, **END, "RV": 9.2}]}), "record 3", (Fault.VALUE_FALLS, "RD[0].RV")),
    ],
)
def test_records_that_do_not_follow_one_another_are_refused(
    changes: tuple[Mapping[str, Any], ...], place: str, expected: tuple[str, str]
) -> None:
    first = examined(*pages(*changes)).faults[0]
    assert ((first.fault, first.path), first.place) == (expected, place)


def test_a_transaction_that_goes_on_under_another_key_is_refused() -> None:
    other = "ECDSA-brainpool256r1-SHA256"
    forged = signed(payload(PG="T13", RD=[{**BEGIN, **END}]), other)
    values = [
        f"<signedData>{text}</signedData><publicKey>{key_text(KEYS[algorithm].public_key())}</publicKey>"
        for text, algorithm in ((pages({}, {}, {})[0], P256), (forged, other))
    ]
    found = examine(container(*values).encode())
    assert ([one.fault for one in found.faults], found.delivered) == ([Fault.SOURCE], ())


def test_a_record_that_is_missing_or_there_twice_shows() -> None:
    first, middle, last = pages({}, {}, {})
    assert fault(first, last) == (Fault.PAGINATION, "PG")
    assert fault(first, middle, middle) == (Fault.PAGINATION, "PG")
    for records, missing in (((first, middle), ("T13",)), ((last,), ("T14",)), ((first, signed(payload(PG="T20"))), ("T12",))):
        found = examined(*records)
        assert (found.faults, found.incomplete) == ((), missing)


def test_one_record_that_fails_hides_no_other() -> None:
    found = examined(signed(payload()), signed(payload(PG="T13")).replace("9.25", "9.26"), signed(payload(PG="T14")))
    assert [outcome.is_authentic for outcome in found.outcomes] == [True, False, True]
    assert [one.place for one in found.faults] == ["record 2"]
    assert len(found.delivered) == 2


# Files and keys


def test_a_container_brings_its_keys_and_one_that_is_given_must_be_the_same() -> None:
    text = signed(payload())
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    key = f'<publicKey encoding="hex">{key_text(KEY.public_key())}</publicKey>'
    whole = container(f'<signedData format="OCMF" encoding="plain">\n {escaped}\n</signedData>{key}')
    assert examine(whole.encode()).faults == ()
    assert fault(whole) is None
    other = public_pem(ec.generate_private_key(ec.SECP256R1()).public_key())
    assert fault(whole, key=other) == (Fault.KEY, "")
    for encoding, written in (("hex", text.encode().hex()), ("base64", b64encode(text.encode()).decode())):
        assert fault(container(f'<encodedData encoding="{encoding}">{written}</encodedData>{key}'), key=None) is None


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("hello", ""),
        ("x OCMF|{}|{}", ""),
        ("<values>", ""),
        ("<values/>", ""),
        ('<!DOCTYPE values [<!ENTITY a "b">]><values><value>&a;</value></values>', ""),
        (container("<signedData/><signedData/>"), "value"),
        (container("<publicKey/>"), "value"),
        (container('<signedData format="EDL">x</signedData>'), "signedData"),
        (container('<signedData encoding="hex">x</signedData>'), "signedData"),
        (container('<signedData encoding="rot13">x</signedData>'), "signedData"),
    ],
)
def test_a_file_without_records_is_refused(text: str, path: str) -> None:
    with pytest.raises(OcmfError) as refused:
        examine(text.encode())
    assert (refused.value.fault, refused.value.path) == (Fault.FORMAT, path)


def test_a_file_that_is_no_text_or_too_long_is_refused() -> None:
    with pytest.raises(OcmfError, match="bytes long"):
        examine(b"OCMF|" + b"x" * FILE_BYTES_MAX)
    with pytest.raises(OcmfError, match="not UTF-8 at byte 5"):
        examine(b"OCMF|\xff")


@pytest.mark.parametrize(
    "key",
    [
        None,
        b"",
        b"no key",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"04" + b"00" * 64,
        b"\x30\x80\xff",
        b"\xff" * 20_000,
        ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public_pem(KEYS["ECDSA-secp384r1-SHA256"].public_key()),
    ],
    ids=["none", "empty", "words", "PEM", "point", "DER", "long", "Ed25519", "P-384"],
)
def test_without_a_key_of_the_curve_nothing_holds(key: bytes | None) -> None:
    assert fault(signed(payload()), key=key) == (Fault.KEY, "")


def test_a_key_on_a_curve_that_this_machine_lacks_is_named_so() -> None:
    secp192k1 = bytes.fromhex("3046301006072a8648ce3d020106052b8104001f03320004" + "11" * 48)
    assert fault(signed(payload()), key=secp192k1) == (Fault.ALGORITHM, "")


def test_a_text_that_no_bytes_have_is_refused() -> None:
    with pytest.raises(OcmfError, match="is not text that can be signed"):
        parse(signed(payload()).replace('"FV"', '"U\udcff": 1, "FV"'))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from([*PAYLOAD, "LC", "MF"]), ANY_JSON)
def test_whatever_a_field_holds_only_our_error_comes(name: str, value: object) -> None:
    _ends_well(signed(json.dumps({**PAYLOAD, name: value})).encode())


@given(st.sampled_from([*BEGIN, "CL", "RT"]), ANY_JSON)
def test_whatever_a_reading_holds_only_our_error_comes(name: str, value: object) -> None:
    _ends_well(signed(json.dumps({**PAYLOAD, "RD": [{**BEGIN, name: value}, END]})).encode())


@given(st.binary(max_size=60), st.integers(0, 600), st.integers(0, 30), st.binary(max_size=90))
@settings(max_examples=300)
def test_whatever_bytes_come_only_our_error_comes(inserted: bytes, place: int, cut: int, key: bytes) -> None:
    record = signed(payload()).encode()
    _ends_well(record[:place] + inserted + record[place + cut :])
    _ends_well(inserted, key)
    _ends_well(record, key)
    _ends_well(container("").encode().replace(b"<value>", inserted))


def _ends_well(data: bytes, key: bytes = PUBLIC) -> None:
    try:
        found = examine(data, key)
    except OcmfError:
        return
    assert all(outcome.fault or outcome.is_authentic for outcome in found.outcomes)


# A session written as a record


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    """A customer with a settled charge, a battery brought back, and a service under way."""
    made = Customer(tmp_path_factory.mktemp("ocmf") / "home")
    made.settled(OUTLET)
    made.settled(LOCK)
    made.active(WORKER)
    yield made
    made.close()


def order_of(alice: Customer, number: int) -> Any:
    """The evidence of an order, by its number."""
    return payment.prove(alice.me.journal, alice.me.numbered(number), alice.me.identity.root_key).evidence


@pytest.mark.parametrize("number", [1, 2])
def test_a_session_is_written_as_a_record_that_verifies_and_counts_the_same_energy(alice: Customer, number: int) -> None:
    evidence = order_of(alice, number)
    text = record_of(evidence, KEY)
    found = examined(text)
    assert (found.faults, found.incomplete) == ((), ())
    [delivered] = found.delivered
    assert delivered.amount == evidence.end.register_wh - evidence.start.register_wh
    record = parse(text)
    assert (record.readings[0].reason, record.readings[-1].reason) == ("B", "E")
    assert len(record.readings) == len(evidence.readings) + 2
    assert [reading.value for reading in record.readings[1:-1]] == [one.register_wh for one in evidence.readings]
    assert record.readings[0].time // 1_000 == evidence.start.start_time // 1_000
    assert record.page.number == evidence.start.receipt_number


def test_a_session_without_its_end_is_a_record_that_is_not_whole(alice: Customer) -> None:
    found = examined(record_of(replace(order_of(alice, 1), end=None), KEY))
    assert (found.faults, found.delivered, len(found.incomplete)) == ((), (), 1)


def test_a_clock_that_was_lost_is_written_as_unknown(alice: Customer) -> None:
    evidence = order_of(alice, 1)
    lost = replace(evidence, start=replace(evidence.start, clock_quality=ClockQuality.RELATIVE))
    assert parse(record_of(lost, KEY)).readings[0].quality is TimeQuality.UNKNOWN


def test_a_session_that_never_started_and_a_service_have_no_record(alice: Customer) -> None:
    evidence = order_of(alice, 1)
    for lacking in (replace(evidence, start=None), replace(evidence, offer=replace(evidence.offer, asset=WORKER))):
        with pytest.raises(Rejected, match="PART_MISSING"):
            record_of(lacking, KEY)


# Commands


@click.group(cls=Program)
def program() -> None:
    """The user's program, with these commands only."""


ocmf_commands.register(program)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Run a command."""
    result = CliRunner().invoke(program, [str(argument) for argument in arguments], prog_name="energyshare")
    return result.exit_code, result.stdout, result.stderr


def test_an_order_is_exported_and_verified_by_command(alice: Customer, tmp_path: Path) -> None:
    out = tmp_path / "session.ocmf"
    status, told, _ = run("ocmf", "1", "--out", out, "--home", alice.home)
    assert status == 0
    assert f"next: energyshare verify-ocmf {out} --key {out}.pub.pem" in told.replace("\n", " ")
    status, told, _ = run("verify-ocmf", out, "--key", f"{out}.pub.pem", "--json")
    assert (status, json.loads(told)["verified"]) == (0, True)
    assert oct((alice.home / "ocmf-key.pem").stat().st_mode)[-3:] == "600"
    assert json.loads(told)["delivered"][0]["unit"] == "Wh"


def test_the_home_s_key_stays_the_same_and_another_can_be_given(alice: Customer, tmp_path: Path) -> None:
    keys = [json.loads(run("ocmf", "1", "--json", "--home", alice.home)[1])["public_key"] for _ in range(2)]
    assert keys[0] == keys[1]
    (tmp_path / "own.pem").write_bytes(new_key_and_request()[0])
    status, told, _ = run("ocmf", "1", "--key", tmp_path / "own.pem", "--home", alice.home)
    assert (status, fault(told, key=bytes.fromhex(keys[0]))) == (0, (Fault.SIGNATURE, ""))


def test_an_export_says_why_it_can_t_be(alice: Customer, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no key")
    for arguments, said in (
        (("ocmf", "3"), "PART_MISSING"),
        (("ocmf", "9"), "UNKNOWN_ORDER"),
        (("ocmf", "1", "--key", tmp_path / "bad.pem"), "is not a P-256 key"),
        (("ocmf", "1", "--key", tmp_path / "none.pem"), "none.pem"),
        (("ocmf", "1", "--out", tmp_path / "no" / "folder"), "folder"),
    ):
        status, told, failed = run(*arguments, "--home", alice.home)
        assert (status, told) == (1, "")
        assert said in failed


def test_a_record_that_does_not_hold_ends_with_1_its_file_its_path_and_its_reason(tmp_path: Path) -> None:
    file, key = tmp_path / "records", tmp_path / "key"
    key.write_bytes(PUBLIC)
    falling = signed(payload(PG="T13", RD=[BEGIN, {**END, "RV": 1}]))
    file.write_text("\n".join([signed(payload()), falling, "OCMF|{}|{}"]))
    status, told, failed = run("verify-ocmf", file, "--key", key)
    assert status == 1
    assert "record 1: holds" in told
    assert "record 3: does not hold\n  PG: must be T or F" in told
    assert "1.75 kWh by 1-b:1.8.0" in told
    assert failed.startswith(
        f"energyshare: error: {file}: record 2: RD[1].RV: 1 kWh is less than 7.5 kWh before it [VALUE_FALLS]"
    )
    status, told, _ = run("verify-ocmf", file, "--key", key, "--json")
    assert (status, json.loads(told)["records"][1]["fault"]["reason"]) == (1, "VALUE_FALLS")


def test_a_key_that_came_along_is_shown_to_be_compared(tmp_path: Path) -> None:
    file = tmp_path / "container.xml"
    key = f"<publicKey>{key_text(KEY.public_key())}</publicKey>"
    file.write_text(container(f"<signedData>{signed(payload(PG='T1', MS=None, RD=[BEGIN]))}</signedData>{key}"))
    status, told, _ = run("verify-ocmf", file)
    assert status == 0
    assert "compare it with the meter's" in told
    assert "note: MS is missing" in told
    assert "the transaction of T1 lacks its beginning or its end" in told


def test_a_file_that_is_not_there_or_no_record_ends_with_1(tmp_path: Path) -> None:
    assert run("verify-ocmf", tmp_path / "none")[0] == 1
    (tmp_path / "text").write_text("hello")
    status, told, failed = run("verify-ocmf", tmp_path / "text")
    assert (status, told) == (1, "")
    assert f"{tmp_path / 'text'}: the file does not begin with OCMF| [FORMAT]" in failed
