"""Tales and their evidence as terminals hold it, and charge records that anyone may sign anew over any of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec import Struct
from sqlalchemy import select

from cloud.store import tables as t
from energyshare.bodies import Body, ChargeRecordBody, Part, PartHash, Verified
from energyshare.bundle import BODIES, SEVERAL, in_order
from energyshare.errors import Rejected
from energyshare.evidence import code_of, verify_bundle
from energyshare.records import replace
from energyshare.values import Digest, OrderId, PartKind, PublicKey, Role
from energyshare.wire import Bundle, digest_of, peek, seal
from tests.cloud.actors import PLATFORM, ROOT, Cloud, grant, reopened
from tests.cloud.conftest import Template
from tests.cloud.story import Story
from tests.cloud.tales import Tale, device_of

BodyT = TypeVar("BodyT", bound=Body)
Retold = Mapping[PartKind, Verified[Any] | None]


class Told(Struct, frozen=True):
    """A settled order: its story, and the evidence that is kept of it."""

    story: Story
    bundle: Bundle

    def part(self, cls: type[BodyT], kind: PartKind) -> BodyT:
        """The body of the last part of a kind."""
        return body_of(self.bundle, cls, kind)

    @property
    def record(self) -> ChargeRecordBody:
        return self.part(ChargeRecordBody, PartKind.CHARGE_RECORD)


Tell = Callable[[Tale], Told]
Forge = Callable[[Told], Bundle]


def body_of(bundle: Bundle, cls: type[BodyT], kind: PartKind) -> BodyT:
    return peek(cls, [p.signed for p in bundle.parts if p.kind is kind][-1])


def collected(cloud: Cloud, order: OrderId) -> Bundle:
    """All that the cloud kept of an order and its latest record names, all readings and records, and the platform's grant."""
    parts = t.order_parts
    rows = [
        (PartKind(row.kind), row.digest, row.signed)
        for row in cloud.readers.rows(select(parts).where(parts.c.order_id == order))
    ]
    records = in_order(tuple(Part(kind, signed) for kind, _, signed in rows if kind is PartKind.CHARGE_RECORD))
    named = {(part.kind, part.hash) for part in peek(ChargeRecordBody, records[-1].signed).parts}
    held = tuple(Part(kind, signed) for kind, digest, signed in rows if kind is PartKind.READING or (kind, digest) in named)
    granted = Part(PartKind.PLATFORM_GRANT, grant(b"C" * 16, Role.PLATFORM, PLATFORM).signed)
    return Bundle(order, in_order((*held, *records, granted)))


@contextmanager
def telling(template: Template, folder: Path) -> Iterator[Tell]:
    """Let each tale run once, in a cloud of its own."""
    told: dict[Tale, Told] = {}

    def tell_once(tale: Tale) -> Told:
        if tale not in told:
            cloud = reopened(template[0], folder / f"{len(told)}.db", dict(template[1]))
            story = Story(cloud, device=device_of(tale))
            tale(story)
            told[tale] = Told(story, collected(cloud, story.order))
        return told[tale]

    yield tell_once
    for one in told.values():
        one.story.cloud.close()


def refusal(bundle: Bundle, root: bytes = ROOT.public) -> str:
    """The code for which a bundle is refused."""
    with pytest.raises(Rejected) as refused:
        verify_bundle(bundle, PublicKey(root))
    return code_of(refused.value)


# Charge records that are signed anew


def retold(bundle: Bundle, parts: Retold, **changes: Any) -> Bundle:
    """Put a new charge record into the evidence, that names the parts given in place of those that were."""
    kept = [p for p in bundle.parts if p.kind not in parts]
    new = [Part(kind, part.signed) for kind, part in parts.items() if part]
    return recorded(replace(bundle, parts=(*kept, *new)), **changes)


def recorded(bundle: Bundle, **changes: Any) -> Bundle:
    """Sign the last charge record anew, over all the parts that are there now."""
    signer, named = changes.pop("signer", PLATFORM), changes.pop("named", None)
    records = [p for p in in_order(bundle.parts) if p.kind is PartKind.CHARGE_RECORD]
    others = tuple(p for p in bundle.parts if p != records[-1])
    record = peek(ChargeRecordBody, records[-1].signed)
    charged = seal(replace(record, parts=names_of(others, record) if named is None else named, **changes), signer)
    return replace(bundle, parts=(*others, Part(PartKind.CHARGE_RECORD, charged.signed)))


def names_of(parts: tuple[Part, ...], record: ChargeRecordBody) -> tuple[PartHash, ...]:
    """What a record has to name of these parts; of readings, where there are any, what it named before."""
    bodies, kinds = {**BODIES, **SEVERAL}, {part.kind for part in parts}
    named = [PartHash(p.kind, Digest(digest_of(bodies[p.kind], p.signed))) for p in parts if p.kind in bodies]
    readings = [part for part in record.parts if part.kind is PartKind.READING and part.kind in kinds]
    return tuple(sorted((*named, *readings), key=lambda part: (part.kind, part.hash)))


def rename(bundle: Bundle, kind: PartKind, hashed: bytes | None) -> Bundle:
    """Let the record name another part of a kind, or none, without touching the parts."""
    record = body_of(bundle, ChargeRecordBody, PartKind.CHARGE_RECORD)
    others = tuple(part for part in record.parts if part.kind is not kind)
    return recorded(bundle, named=others if hashed is None else (*others, PartHash(kind, Digest(hashed))))


def with_part(bundle: Bundle, index: int, signed: bytes | None) -> Bundle:
    """The bundle with one part replaced, or left out."""
    new = () if signed is None else (Part(bundle.parts[index].kind, signed),)
    return replace(bundle, parts=(*bundle.parts[:index], *new, *bundle.parts[index + 1 :]))
