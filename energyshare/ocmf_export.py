"""A session's readings as an OCMF record, for software that knows no other form.

The record is signed by whoever exports it. It says what that one read in the device's own signed evidence; the proof stays
with that evidence, as the device's key is Ed25519, which OCMF does not have.
Source: OCMF 1.4; written as version 1.0, which has all fields that are used and which every reader takes.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from energyshare import __version__
from energyshare.bodies import EndReceiptBody, ReadingBody, StartReceiptBody
from energyshare.charging import Evidence
from energyshare.errors import Reason, Rejected
from energyshare.ocmf import ALGORITHM_DEFAULT, HEADER
from energyshare.ocmf_keys import fingerprint
from energyshare.ocmf_readings import BEGIN, GOOD, TimeQuality
from energyshare.values import ClockQuality, Instant, Kind, datetime_of, id_text

FORMAT_VERSION = "1.0"
OBIS = "1-0:1.8.0"  # energy that was taken from the device, over all its life
QUALITIES = {ClockQuality.SYNCHRONIZED: TimeQuality.SYNCHRONIZED, ClockQuality.RELATIVE: TimeQuality.UNKNOWN}


def record_of(evidence: Evidence, key: ec.EllipticCurvePrivateKey) -> str:
    """Write the readings of a session, from its start receipt to its end receipt, as a record signed on P-256.

    Raises: Rejected{PART_MISSING} for a service, which has no meter, and where nothing was started.
    """
    assert isinstance(key.curve, ec.SECP256R1)
    payload = json.dumps(_payload(evidence, key.public_key()), separators=(",", ":"))
    signature = key.sign(payload.encode(), ec.ECDSA(hashes.SHA256()))
    sealed = {"SA": ALGORITHM_DEFAULT, "SD": signature.hex()}
    return f"{HEADER}|{payload}|{json.dumps(sealed, separators=(',', ':'))}"


def _payload(evidence: Evidence, signer: ec.EllipticCurvePublicKey) -> dict[str, Any]:
    """Give the record's fields; the page is the device's own number of the start receipt."""
    start = evidence.start
    if start is None or evidence.offer.asset.kind is Kind.SERVICE:
        raise Rejected(Reason.PART_MISSING, part="READING", kind=evidence.offer.asset.kind.name)
    return {
        "FV": FORMAT_VERSION,
        "GI": "EnergyShare export",
        "GS": fingerprint(signer)[:16],
        "GV": __version__,
        "PG": f"T{start.receipt_number}",
        "MV": "EnergyShare",
        "MS": id_text(start.device_id),
        "IS": True,
        "IF": [],
        "IT": "CENTRAL",
        "ID": id_text(start.order_id),
        "RD": list(_readings(start, evidence)),
    }


def _readings(start: StartReceiptBody, evidence: Evidence) -> Iterator[dict[str, Any]]:
    yield _reading(BEGIN, start.start_time, start)
    for reading in evidence.readings:
        yield _reading("C" if reading.supplying else "S", reading.reading_time, reading)
    if evidence.end is not None:
        yield _reading("E", evidence.end.end_time, evidence.end)


def _reading(reason: str, time: Instant, signed: StartReceiptBody | ReadingBody | EndReceiptBody) -> dict[str, Any]:
    return {
        "TM": f"{_time_text(datetime_of(time))} {QUALITIES[signed.clock_quality]}",
        "TX": reason,
        "RV": signed.register_wh,
        "RI": OBIS,
        "RU": "Wh",
        "EF": "",
        "ST": GOOD,
    }


def _time_text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S},{time.microsecond // 1_000:03}+0000"
