"""A bundle: its one encoding, its parts by kind, and whether a charge record names them all and no other.

Who checks a part says which one it is, so that every refusal names the part that does not hold.
Source: docs/evidence.md.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    Body,
    ChargeRecordBody,
    EndConfirmationBody,
    EndReceiptBody,
    EndRefusalBody,
    EndRequestBody,
    GrantBody,
    NotReturnedBody,
    OfferBody,
    Part,
    ReadingBody,
    RulingBody,
    SelectionBody,
    SettlementAnswerBody,
    SettlementRequestBody,
    SilenceDecisionBody,
    StartReceiptBody,
    VoucherBody,
)
from energyshare.errors import Reason, Rejected
from energyshare.records import replace
from energyshare.values import Digest, Kind, PartKind
from energyshare.wire import Bundle, Malformed, decode_strictly, digest_of, encode, peek

BUNDLE_BYTES_MAX = 8 * 2**20


class Signer(StrEnum):
    """Whose key signs a part."""

    ROOT = "platform root"
    PLATFORM = "platform"
    ISSUER = "provider"
    DEVICE = "device"
    HOLDER = "user"


SIGNERS: Mapping[PartKind, Signer] = {
    PartKind.OFFER: Signer.ISSUER,
    PartKind.SELECTION: Signer.HOLDER,
    PartKind.VOUCHER: Signer.ISSUER,
    PartKind.ISSUER_GRANT: Signer.ROOT,
    PartKind.DEVICE_GRANT: Signer.ROOT,
    PartKind.PLATFORM_GRANT: Signer.ROOT,
    PartKind.START_RECEIPT: Signer.DEVICE,
    PartKind.READING: Signer.DEVICE,
    PartKind.END_RECEIPT: Signer.DEVICE,
    PartKind.END_REQUEST: Signer.HOLDER,
    PartKind.END_CONFIRMATION: Signer.ISSUER,
    PartKind.END_REFUSAL: Signer.ISSUER,
    PartKind.SILENCE_DECISION: Signer.PLATFORM,
    PartKind.NOT_RETURNED: Signer.ISSUER,
    PartKind.AMENDMENT: Signer.ISSUER,
    PartKind.AMENDMENT_ANSWER: Signer.HOLDER,
    PartKind.SETTLEMENT_REQUEST: Signer.ISSUER,
    PartKind.SETTLEMENT_ANSWER: Signer.HOLDER,
    PartKind.RULING: Signer.PLATFORM,
    PartKind.CHARGE_RECORD: Signer.PLATFORM,
}
"""All parts that a bundle may hold, and by whom they are signed."""

BODIES: Mapping[PartKind, type[Body]] = {
    PartKind.OFFER: OfferBody,
    PartKind.SELECTION: SelectionBody,
    PartKind.VOUCHER: VoucherBody,
    PartKind.ISSUER_GRANT: GrantBody,
    PartKind.DEVICE_GRANT: GrantBody,
    PartKind.START_RECEIPT: StartReceiptBody,
    PartKind.END_RECEIPT: EndReceiptBody,
    PartKind.END_REQUEST: EndRequestBody,
    PartKind.END_CONFIRMATION: EndConfirmationBody,
    PartKind.END_REFUSAL: EndRefusalBody,
    PartKind.SILENCE_DECISION: SilenceDecisionBody,
    PartKind.NOT_RETURNED: NotReturnedBody,
    PartKind.SETTLEMENT_REQUEST: SettlementRequestBody,
    PartKind.SETTLEMENT_ANSWER: SettlementAnswerBody,
    PartKind.RULING: RulingBody,
}
"""Parts of which a record names one at most."""

SEVERAL: Mapping[PartKind, type[Body]] = {
    PartKind.AMENDMENT: AmendmentBody,
    PartKind.AMENDMENT_ANSWER: AmendmentAnswerBody,
}
"""Parts of which it names each."""

OF_A_SUPPLY = frozenset({PartKind.END_RECEIPT, PartKind.END_REQUEST, PartKind.END_CONFIRMATION, PartKind.END_REFUSAL})
OF_A_SERVICE = frozenset({*SEVERAL, PartKind.SETTLEMENT_REQUEST, PartKind.SETTLEMENT_ANSWER})
NOWHERE = frozenset(PartKind) - frozenset(SIGNERS)
UNEXPECTED: Mapping[Kind, frozenset[PartKind]] = {
    Kind.BATTERY: NOWHERE | OF_A_SERVICE,
    Kind.ENERGY: NOWHERE | OF_A_SERVICE | {PartKind.NOT_RETURNED},
    Kind.SERVICE: NOWHERE | OF_A_SUPPLY | {PartKind.NOT_RETURNED},
}
"""Parts that prove nothing about a bill of a kind."""


def write_bundle(bundle: Bundle) -> bytes:
    """Encode a bundle as a file: the same evidence gives the same bytes. Raises Rejected{MALFORMED}."""
    return encode(replace(bundle, parts=in_order(bundle.parts)))


def read_bundle(data: bytes) -> Bundle:
    """Decode a bundle from a file that is as `write_bundle` would write it. Raises Rejected{MALFORMED}."""
    with about("BUNDLE"):
        if len(data) > BUNDLE_BYTES_MAX:
            raise Malformed("Bundle", f"is longer than {BUNDLE_BYTES_MAX} bytes")
        bundle = decode_strictly(Bundle, data)
    if len(set(bundle.parts)) != len(bundle.parts) or in_order(bundle.parts) != bundle.parts:
        raise Rejected(Reason.MALFORMED, part="BUNDLE", field="Bundle.parts", problem="are twice there or in another order")
    return bundle


def in_order(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Sort parts by kind; readings and amendments by number, answers as what they answer, records by corrections."""
    amendments = {_digest(part): _number_of(part, {}) for part in parts if part.kind is PartKind.AMENDMENT}
    records = chain_of(tuple(part.signed for part in parts if part.kind is PartKind.CHARGE_RECORD))
    places = amendments | {Digest(digest_of(ChargeRecordBody, record)): at for at, record in enumerate(records)}
    return tuple(sorted(parts, key=lambda part: (part.kind, _number_of(part, places), part.signed)))


def chain_of(records: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Sort charge records, each after the one that it corrects, as far as that is there."""
    with about(PartKind.CHARGE_RECORD):
        corrects = {Digest(digest_of(ChargeRecordBody, one)): peek(ChargeRecordBody, one).corrects_hash for one in records}
        return tuple(sorted(records, key=lambda one: _corrections(Digest(digest_of(ChargeRecordBody, one)), corrects)))


@contextmanager
def about(part: PartKind | str) -> Iterator[None]:
    """Name the part in every refusal from within that names none yet."""
    name = part.name if isinstance(part, PartKind) else part
    try:
        yield
    except Rejected as refusal:
        raise Rejected(refusal.reason, **{"part": name} | dict(refusal.metadata)) from None


class Parts:
    """The parts of a bundle by kind."""

    def __init__(self, bundle: Bundle) -> None:
        self._by_kind: dict[PartKind, list[bytes]] = {}
        for part in bundle.parts:
            self._by_kind.setdefault(part.kind, []).append(part.signed)

    def one(self, kind: PartKind) -> bytes:
        """Give the part of a kind; raises Rejected with PART_MISSING or PART_UNEXPECTED unless there is exactly one."""
        found = self._by_kind.get(kind, [])
        if not found:
            raise Rejected(Reason.PART_MISSING, part=kind.name)
        if len(found) > 1:
            raise Rejected(Reason.PART_UNEXPECTED, part=kind.name, found=str(len(found)))
        return found[0]

    def maybe(self, kind: PartKind) -> bytes | None:
        """Give the part of a kind, if there is one."""
        return self.one(kind) if kind in self._by_kind else None

    def all(self, kind: PartKind) -> tuple[bytes, ...]:
        """Give the parts of a kind, in their order."""
        return tuple(self._by_kind.get(kind, ()))

    def require_expected(self, kind: Kind) -> None:
        """Raise unless each part can prove something about a bill of a kind."""
        for part in sorted(UNEXPECTED[kind] & self._by_kind.keys()):
            raise Rejected(Reason.PART_UNEXPECTED, part=part.name)

    def require_named(self, record: ChargeRecordBody) -> None:
        """Raise unless the record names each part that counts, by its hash, and names no other."""
        named: dict[PartKind, list[Digest]] = {}
        for part in record.parts:
            named.setdefault(part.kind, []).append(part.hash)
        for kind, cls in (*BODIES.items(), *SEVERAL.items()):
            self._require_same(kind, cls, named.pop(kind, []))
        if len(named.pop(PartKind.READING, [])) > 1:
            raise Rejected(Reason.PART_HASH, part="READING", problem="is named twice")
        for kind in named:
            raise Rejected(Reason.PART_MISSING, part=kind.name)

    def _require_same(self, kind: PartKind, cls: type[Body], named: list[Digest]) -> None:
        with about(kind):
            held = [Digest(digest_of(cls, signed)) for signed in self.all(kind)]
        if len(set(named)) != len(named) or (kind in BODIES and len(named) > 1):
            raise Rejected(Reason.PART_HASH, part=kind.name, problem="is named twice")
        if len(held) > len(named):
            raise Rejected(Reason.PART_UNEXPECTED, part=kind.name, found=str(len(held)), named=str(len(named)))
        if len(held) < len(named):
            raise Rejected(Reason.PART_MISSING, part=kind.name, found=str(len(held)), named=str(len(named)))
        if sorted(held) != sorted(named):
            raise Rejected(Reason.PART_HASH, part=kind.name)


def _number_of(part: Part, places: Mapping[Digest, int]) -> int:
    """Give a part's place among those of its kind."""
    with about(part.kind):
        match part.kind:
            case PartKind.READING:
                return peek(ReadingBody, part.signed).number
            case PartKind.AMENDMENT:
                return peek(AmendmentBody, part.signed).number
            case PartKind.AMENDMENT_ANSWER:
                return places.get(peek(AmendmentAnswerBody, part.signed).amendment_hash, 0)
            case PartKind.CHARGE_RECORD:
                return places[_digest(part)]
            case _:
                return 0


def _digest(part: Part) -> Digest:
    with about(part.kind):
        return Digest(digest_of(ChargeRecordBody if part.kind is PartKind.CHARGE_RECORD else SEVERAL[part.kind], part.signed))


def _corrections(record: Digest, corrects: Mapping[Digest, Digest | None]) -> int:
    """Count the records before one; they can't go round, as each holds the hash of the one before."""
    before, count = corrects[record], 0
    while before is not None:
        count, before = count + 1, corrects.get(before)
    return count
