"""What a file of OCMF records proves: each record's signature, and whether the records make sense together.

Each record gets its own outcome, so that one that fails hides no other. A key that came with a record shows that nothing was
altered since, not whose meter it was: for that the key must come from elsewhere.
"""

from collections.abc import Iterator, Sequence

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from energyshare.ocmf import Record, parse
from energyshare.ocmf_checks import Chain, Delivered, require_usable
from energyshare.ocmf_fields import Fault, OcmfError
from energyshare.ocmf_files import Sealed, sealed_of
from energyshare.ocmf_keys import curve_of, fingerprint, public_key, verify
from energyshare.records import replace


class Outcome(Struct, frozen=True):
    """What became of one record.

    `record` is None when it can't be read, `key` the one that it was checked with; `is_authentic` says that the signature
    holds, also where `fault` names something else; `remarks` what departs from the format.
    """

    place: str
    record: Record | None
    key: ec.EllipticCurvePublicKey | None
    is_authentic: bool = False
    remarks: tuple[str, ...] = ()
    fault: OcmfError | None = None


class Examined(Struct, frozen=True):
    """What became of a file's records. `incomplete` names pages of transactions whose beginning or end is not there."""

    outcomes: tuple[Outcome, ...]
    delivered: tuple[Delivered, ...]
    incomplete: tuple[str, ...]

    @property
    def faults(self) -> tuple[OcmfError, ...]:
        """All that does not hold, in the file's order."""
        return tuple(outcome.fault for outcome in self.outcomes if outcome.fault is not None)


def examine(data: bytes, key: bytes | None = None) -> Examined:
    """Check the records of a file with a key, or else with those that came along; raises OcmfError when it has no records."""
    chain = Chain()
    outcomes = tuple(_followed(chain, [_checked(sealed, key) for sealed in sealed_of(data)]))
    chain.close()
    return Examined(outcomes, tuple(chain.delivered), tuple(str(page) for page in chain.incomplete))


def _checked(sealed: Sealed, given: bytes | None) -> Outcome:
    """Check one record by itself."""
    unread = Outcome(sealed.place, None, None)
    try:
        record = parse(sealed.text)
    except OcmfError as fault:
        return replace(unread, fault=fault.at(sealed.place))
    return _authenticated(replace(unread, record=record, remarks=record.remarks), record, sealed.key, given)


def _authenticated(outcome: Outcome, record: Record, own: bytes | None, given: bytes | None) -> Outcome:
    try:
        key = _key_for(record, own, given)
        outcome = replace(outcome, key=key)
        remarks = verify(record, key)
        outcome = replace(outcome, is_authentic=True, remarks=(*record.remarks, *remarks))
        require_usable(record)
    except OcmfError as fault:
        return replace(outcome, fault=fault.at(outcome.place))
    return outcome


def _key_for(record: Record, own: bytes | None, given: bytes | None) -> ec.EllipticCurvePublicKey:
    """Choose the key: the one given, which must not differ from one that came along; raises OcmfError{KEY}."""
    curve = curve_of(record)
    keys = [public_key(key, curve) for key in (given, own) if key is not None]
    if not keys:
        raise OcmfError(Fault.KEY, "", "no public key came with the record")
    if keys[-1] != keys[0]:
        raise OcmfError(Fault.KEY, "", "the key that came with the record is not the one that was given")
    return keys[0]


def _followed(chain: Chain, outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    """Check the records with those before them."""
    for outcome in outcomes:
        yield _follow(chain, outcome)


def _follow(chain: Chain, outcome: Outcome) -> Outcome:
    if outcome.record is None or outcome.key is None or outcome.fault is not None:
        return outcome
    try:
        chain.follow(outcome.record, fingerprint(outcome.key))
    except OcmfError as fault:
        return replace(outcome, fault=fault.at(outcome.place))
    return outcome
