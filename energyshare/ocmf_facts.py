"""What OCMF records say and prove, for programs: values as texts, so that none is rounded."""

from decimal import Decimal
from typing import Any

from energyshare.ocmf import Record
from energyshare.ocmf_checks import Delivered
from energyshare.ocmf_fields import OcmfError
from energyshare.ocmf_keys import fingerprint
from energyshare.ocmf_readings import Reading
from energyshare.ocmf_verification import Examined, Outcome


def examined_facts(examined: Examined) -> dict[str, Any]:
    """Give what a file's records prove."""
    return {
        "verified": not examined.faults,
        "records": [_outcome_facts(outcome) for outcome in examined.outcomes],
        "delivered": [_delivered_facts(delivered) for delivered in examined.delivered],
        "incomplete": list(examined.incomplete),
    }


def _outcome_facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "place": outcome.place,
        "authentic": outcome.is_authentic,
        "fault": _fault_facts(outcome.fault) if outcome.fault else None,
        "key": fingerprint(outcome.key) if outcome.key else None,
        "remarks": list(outcome.remarks),
        "record": _record_facts(outcome.record) if outcome.record else None,
    }


def _fault_facts(fault: OcmfError) -> dict[str, str]:
    return {"reason": fault.fault, "path": fault.path, "problem": fault.problem}


def _record_facts(record: Record) -> dict[str, Any]:
    return {
        "version": record.version,
        "page": str(record.page),
        "algorithm": record.algorithm,
        "texts": dict(record.texts),
        "user_assigned": record.user_assigned,
        "user_flags": list(record.user_flags),
        "readings": [_reading_facts(reading) for reading in record.readings],
        "unread": list(record.unread),
    }


def _reading_facts(reading: Reading) -> dict[str, Any]:
    return {
        "time_us": reading.time,
        "clock": reading.quality,
        "reason": reading.reason,
        "value": _exact(reading.value),
        "unit": reading.unit,
        "register": reading.obis,
        "current": reading.current,
        "loss": _exact(reading.loss),
        "error_flags": reading.error_flags,
        "status": reading.status,
    }


def _delivered_facts(delivered: Delivered) -> dict[str, Any]:
    return {
        "pages": [str(delivered.first), str(delivered.last)],
        "register": delivered.obis,
        "amount": _exact(delivered.amount),
        "unit": delivered.unit,
        "begin_us": delivered.begin.time,
        "end_us": delivered.end.time,
    }


def _exact(value: Decimal | None) -> str | None:
    """Write a number with all its digits and no exponent."""
    return None if value is None else f"{value:f}"
