"""What cheats sign: a cloud that signs any record over any parts, and parts that user, provider or device signed otherwise."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from energyshare.bodies import Body, EndConfirmationBody, Part, SelectionBody, SilenceDecisionBody, Verified
from energyshare.bundle import BODIES, SEVERAL
from energyshare.opening import OPENED
from energyshare.records import replace
from energyshare.signing import Label, SigningKey, digest
from energyshare.values import Currency, PartKind, Role
from energyshare.wire import Bundle, open_signed, peek, seal
from tests.cloud.actors import PLATFORM, T0, asset_of, grant, key
from tests.cloud.story import Story
from tests.cloud.told import Forge, Told, recorded, rename, retold

Changes = Mapping[str, Mapping[str, Any]]


def signer_of(name: str) -> SigningKey:
    """A key by the name of who holds it."""
    return PLATFORM if name == "the platform" else key(name)


def billed(**changes: Any) -> Forge:
    """Another charge record over the same parts."""
    return lambda told: recorded(told.bundle, **changes)


def naming(kind: PartKind, hashed: bytes | None) -> Forge:
    return lambda told: rename(told.bundle, kind, hashed)


def without(*kinds: PartKind, **changes: Any) -> Forge:
    """Parts of some kinds left out, and not named."""
    return lambda told: retold(told.bundle, dict.fromkeys(kinds), **changes)


def altered(kind: PartKind, by: str, /, **changes: Any) -> Forge:
    """The part of a kind with other fields, signed anew by someone; the record names it."""

    def forge(told: Told) -> Bundle:
        part = seal(replace(told.part(OPENED[kind], kind), **changes), signer_of(by))
        return retold(told.bundle, {kind: part})

    return forge


def added(kind: PartKind, by: str, body: Body, **changes: Any) -> Forge:
    """One more part, which the record names."""
    return lambda told: with_more(told.bundle, kind, seal(body, signer_of(by)), **changes)


def with_more(bundle: Bundle, kind: PartKind, part: Verified[Any], **changes: Any) -> Bundle:
    return recorded(replace(bundle, parts=(*bundle.parts, Part(kind, part.signed))), **changes)


def silence(by: str = "the platform", **changes: Any) -> Forge:
    """Another decision on silence, and a record of that moment."""

    def forge(told: Told) -> Bundle:
        body = told.part(SilenceDecisionBody, PartKind.SILENCE_DECISION)
        decided = seal(replace(body, **changes), signer_of(by))
        return retold(told.bundle, {PartKind.SILENCE_DECISION: decided}, settled_time=decided.body.decided_time)

    return forge


def granted(kind: PartKind, subject: str, role: Role, of: str, owner: str | None = None, **more: Any) -> Forge:
    """Another grant for someone in a role; the record names it."""

    def forge(told: Told) -> Bundle:
        who = told.story.cloud.roster
        part = grant(who[subject].id, role, key(of), who[owner].id if owner else None, **more)
        return retold(told.bundle, {kind: part})

    return forge


def platform_granted(role: Role, **more: Any) -> Forge:
    def forge(told: Told) -> Bundle:
        parts = tuple(p for p in told.bundle.parts if p.kind is not PartKind.PLATFORM_GRANT)
        part = Part(PartKind.PLATFORM_GRANT, grant(b"C" * 16, role, PLATFORM, **more).signed)
        return replace(told.bundle, parts=(*parts, part))

    return forge


def twice(kind: PartKind) -> Forge:
    """A part there twice, and named twice."""

    def forge(told: Told) -> Bundle:
        part = next(p for p in told.bundle.parts if p.kind is kind)
        return recorded(replace(told.bundle, parts=(*told.bundle.parts, part)))

    return forge


def numbered(told: Told, kind: PartKind, index: int) -> Any:
    """The body of one of several parts of a kind."""
    bodies = {**BODIES, **SEVERAL}
    return peek(bodies[kind], [p.signed for p in told.bundle.parts if p.kind is kind][index])


def one_altered(kind: PartKind, index: int, by: str, /, **changes: Any) -> Forge:
    """One of several parts of a kind with other fields, signed anew."""

    def forge(told: Told) -> Bundle:
        places = [at for at, p in enumerate(told.bundle.parts) if p.kind is kind]
        part = Part(kind, seal(replace(numbered(told, kind, index), **changes), signer_of(by)).signed)
        parts = list(told.bundle.parts)
        parts[places[index]] = part
        return recorded(replace(told.bundle, parts=tuple(parts)))

    return forge


def forged(told: Told, changes: Changes) -> Bundle:
    """An hour's session of which every part is signed anew, from the offer on, and the record names them all."""
    stage: Any = SimpleNamespace(roster=told.story.cloud.roster, now=T0)
    story = Story(stage)
    offered = dict(changes.get("offer", {}))
    if "tariff" in offered:
        hashed = digest(Label.TARIFF, offered["tariff"])
        offered["asset"] = asset_of(stage.roster, story.device, tariff_hash=hashed)
    story.offering(**offered)
    chosen = SelectionBody(story.order, story.offer.digest, told.record.hold_minor, Currency("CNY"), T0)
    selected = seal(replace(chosen, **changes.get("selection", {})), key("ann"))
    story.issuing(**changes.get("voucher", {}))
    story.starting(**changes.get("start", {}))
    story.end(3_600, 2_500)
    agreed = open_signed(EndConfirmationBody, story.confirming().confirmation, key("sun").public)
    parts = {
        PartKind.OFFER: story.offer,
        PartKind.SELECTION: selected,
        PartKind.VOUCHER: story.voucher,
        PartKind.START_RECEIPT: story.started,
        PartKind.READING: None,
        PartKind.END_RECEIPT: story.ended,
        PartKind.END_REQUEST: None,
        PartKind.END_CONFIRMATION: agreed,
    }
    return retold(told.bundle, parts)
