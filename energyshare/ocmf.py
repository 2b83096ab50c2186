"""OCMF records: what a meter read, signed by whoever read it, as values.

A record is `OCMF|payload|signature`, two JSON objects. The signature covers the payload's bytes as they stand, which a record
therefore keeps. Read strictly: what is malformed is refused with its path, nothing is filled in that the format does not let
be left out. What real meters write beside the format and can mean one thing only is read, and noted in `remarks`.
Source: OCMF 1.4 of the S.A.F.E. e.V. (OCMF-Open-Charge-Metering-Format), JSON based OCMF format, tables 1 to 24.
"""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping

from msgspec import Struct

from energyshare.ocmf_fields import Fault as Fault
from energyshare.ocmf_fields import Fields, parsed_section
from energyshare.ocmf_fields import OcmfError as OcmfError
from energyshare.ocmf_readings import READING, READINGS_MAX, Page, Reading, readings_of

SIGNATURE_TEXT_MAX = 400
HEADER = "OCMF"
ALGORITHM_DEFAULT = "ECDSA-secp256r1-SHA256"

TEXTS: Mapping[str, int] = {
    **dict.fromkeys(("GI", "GS", "GV", "MV", "MM", "MS", "MF", "CI"), 200),
    **dict.fromkeys(("ID", "CCV", "CF"), 200),
    **dict.fromkeys(("IL", "IT", "CT"), 40),
    "TT": 250,
}
"""Texts that describe gateway, meter, user and charge point, and the characters that are read of each."""
PAYLOAD = ("FV", "PG", "IS", "IF", "LC", "RD", *TEXTS)
LOSS_UNITS = ("mOhm", "uOhm")
FOR_OTHERS = "ABCDEFUVWXYZ"
"""First letters of names in the signature section that are left to others."""

VERSION = re.compile(r"[01]\.[0-9]{1,3}")
PAGE = re.compile(r"([TF])(0|[1-9][0-9]{0,17})")
HEX = re.compile(r"([0-9A-Fa-f]{2})+")


class Record(Struct, frozen=True):
    """A record as it was read; whether its signature holds is for `energyshare.ocmf_keys`.

    `signed` are the bytes that the signature covers; `texts` what describes gateway, meter, user and charge point by its name
    in the format; `remarks` what departs from the format, `unread` the paths of fields that are not of it.
    """

    text: str
    signed: bytes
    algorithm: str
    signature: bytes
    version: str
    page: Page
    texts: Mapping[str, str]
    user_assigned: bool | None
    user_flags: tuple[str, ...]
    readings: tuple[Reading, ...]
    remarks: tuple[str, ...]
    unread: tuple[str, ...]

    @property
    def source(self) -> tuple[str, ...]:
        """What identifies whoever signed: serial numbers of gateway and meter, and the charge point."""
        return tuple(self.texts.get(name, "") for name in ("GS", "MS", "CT", "CI"))


def parse(text: str) -> Record:
    """Read a record; raises OcmfError with FORMAT or VALUE."""
    sections = text.strip().split("|")
    if len(sections) != 3 or sections[0] != HEADER:
        raise OcmfError(Fault.FORMAT, "", "is not OCMF|payload|signature")
    payload = Fields(parsed_section(sections[1], "payload"))
    signature = Fields(parsed_section(sections[2], "signature"), "signature")
    page, texts = _page(payload), _texts(payload)
    readings = tuple(readings_of(payload, page))
    _check_loss_compensation(payload)
    return Record(
        text=text.strip(),
        signed=_bytes_of(sections[1]),
        algorithm=_algorithm(signature),
        signature=_signature(signature),
        version=_version(payload),
        page=page,
        texts=texts,
        user_assigned=payload.flag("IS"),
        user_flags=payload.texts("IF", 4),
        readings=readings,
        remarks=tuple(_remarks(payload)),
        unread=tuple(_unread(payload)),
    )


def _bytes_of(section: str) -> bytes:
    try:
        return section.encode()
    except UnicodeEncodeError:
        raise OcmfError(Fault.FORMAT, "payload", "is not text that can be signed") from None


def _version(payload: Fields) -> str:
    version = payload.text("FV", 10)
    if version is not None and not VERSION.fullmatch(version):
        raise payload.bad("FV", "must be a version 0.N or 1.N")
    return version or ""


def _page(payload: Fields) -> Page:
    found = PAGE.fullmatch(payload.text("PG", 20) or "")
    if found is None:
        raise payload.bad("PG", "must be T or F and a number without leading zeros")
    return Page(found[1], int(found[2]))


def _texts(payload: Fields) -> Mapping[str, str]:
    read = {name: payload.text(name, most) for name, most in TEXTS.items()}
    texts = {name: text for name, text in read.items() if text is not None}
    if not any(texts.get(name) for name in ("GS", "MS", "CI")):
        raise payload.bad("MS", "is missing, and GS and CI too: nothing says which meter it was")
    return texts


def _check_loss_compensation(payload: Fields) -> None:
    """Raise unless what is said of the cable's loss, if anything, is whole. Source: table 24."""
    if payload.has("LC"):
        loss = payload.inner("LC")
        loss.text("LN", 20)
        loss.number("LI")
        if loss.number("LR") is None or loss.one_of("LU", LOSS_UNITS) is None:
            raise payload.bad("LC", "must have LR and LU")


def _algorithm(signature: Fields) -> str:
    for name in signature.values:
        if name not in ("SA", "SE", "SM", "SD") and name[:1] not in FOR_OTHERS:
            raise signature.bad(name, "is not a field of a signature")
    signature.one_of("SM", ("application/x-der",))
    algorithm = signature.text("SA", 60)
    return ALGORITHM_DEFAULT if algorithm is None else algorithm


def _signature(signature: Fields) -> bytes:
    encoding = signature.one_of("SE", ("hex", "base64")) or "hex"
    text = signature.needed("SD", signature.text("SD", SIGNATURE_TEXT_MAX))
    if encoding == "hex":
        if not HEX.fullmatch(text):
            raise signature.bad("SD", "must be hex")
        return bytes.fromhex(text)
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise signature.bad("SD", "must be base64") from None


def _remarks(payload: Fields) -> Iterator[str]:
    if not payload.has("MS"):
        yield "MS is missing: the meter bears no serial number"
    for reading in payload.objects("RD", READINGS_MAX):
        if isinstance(reading.values.get("RV"), str):
            yield f"{reading.at('RV')} is a number written as a text"


def _unread(payload: Fields) -> Iterator[str]:
    yield from (payload.at(name) for name in payload.values if name not in PAYLOAD)
    for reading in payload.objects("RD", READINGS_MAX):
        yield from (reading.at(name) for name in reading.values if name not in READING)
