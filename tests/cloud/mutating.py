"""Ways to spoil a bundle: flipped bits, parts moved, dropped, doubled, taken from elsewhere, or signed by whoever may not."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from energyshare.bodies import Body, GrantBody, Part, Verified
from energyshare.bundle import SIGNERS, Signer, in_order
from energyshare.errors import Rejected
from energyshare.opening import OPENED, Keys
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import PartKind, PublicKey, Role
from energyshare.wire import Bundle, encode, peek, seal
from tests.cloud.actors import PLATFORM, ROOT, STRANGER_ROOT, grant, key
from tests.cloud.told import recorded

NAMES = ("ann", "ben", "sun", "moon", "sun-outlet", "sun-battery", "sun-worker", "sun-free", "another platform")
HANDS = (PLATFORM, ROOT, STRANGER_ROOT, *map(key, NAMES))
"""All who may try to sign something."""
SIGNED: dict[PartKind, type[Any]] = {
    **OPENED,
    PartKind.ISSUER_GRANT: GrantBody,
    PartKind.DEVICE_GRANT: GrantBody,
    PartKind.PLATFORM_GRANT: GrantBody,
}


@dataclass(frozen=True)
class Original:
    """A bundle that verifies, as a value and as a file, whose signatures count in it, and other bundles."""

    bundle: Bundle
    data: bytes
    keys: Keys
    others: tuple[Bundle, ...] = ()


Mutation = Callable[[Original, random.Random], bytes]


def with_flipped_bits(original: Original, chance: random.Random) -> bytes:
    altered = bytearray(original.data)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        altered[chance.randrange(len(altered))] ^= 1 << chance.randrange(8)
    return bytes(altered)


def cut_or_longer(original: Original, chance: random.Random) -> bytes:
    data, at = original.data, chance.randrange(len(original.data))
    return chance.choice((data[:at], data[at:], data + data[at:], data[:at] + b"\x00" + data[at:]))


def with_parts_in_another_order(original: Original, chance: random.Random) -> bytes:
    parts = list(original.bundle.parts)
    a, b = chance.sample(range(len(parts)), 2)
    parts[a], parts[b] = parts[b], parts[a]
    return encode(replace(original.bundle, parts=tuple(parts)))


def with_contents_swapped(original: Original, chance: random.Random) -> bytes:
    parts = list(original.bundle.parts)
    a, b = chance.sample(range(len(parts)), 2)
    parts[a], parts[b] = replace(parts[a], signed=parts[b].signed), replace(parts[b], signed=parts[a].signed)
    return written(original.bundle, parts)


def with_a_part_dropped(original: Original, chance: random.Random) -> bytes:
    parts = list(original.bundle.parts)
    parts.pop(chance.randrange(len(parts)))
    return written(original.bundle, parts)


def with_a_part_doubled(original: Original, chance: random.Random) -> bytes:
    part = chance.choice(original.bundle.parts)
    kind = chance.choice((part.kind, chance.choice(tuple(PartKind))))
    return written(original.bundle, [*original.bundle.parts, replace(part, kind=kind)])


def with_a_part_of_another_bundle(original: Original, chance: random.Random) -> bytes:
    foreign = chance.choice(chance.choice(original.others).parts)
    kept = [part for part in original.bundle.parts if part.kind is not foreign.kind]
    return written(original.bundle, [*kept, foreign])


def with_a_part_by_another_hand(original: Original, chance: random.Random) -> bytes:
    """The same words under another signature; half of the time the platform names it in a record of its own."""
    part = chance.choice(original.bundle.parts)
    return resealed(original, part, peek(SIGNED[part.kind], part.signed), chance)


def with_a_field_changed_by_another_hand(original: Original, chance: random.Random) -> bytes:
    part = chance.choice(original.bundle.parts)
    return resealed(original, part, changed(peek(SIGNED[part.kind], part.signed), chance), chance)


def under_a_platform_that_is_not_granted(original: Original, chance: random.Random) -> bytes:
    """All of the platform's parts signed by another key, with a grant by nobody, by another root, or for another role."""
    impostor = key("another platform")
    role, root = chance.choice(((Role.PLATFORM, STRANGER_ROOT), (Role.PLATFORM, PLATFORM), (Role.ISSUER, ROOT)))
    granted = Part(PartKind.PLATFORM_GRANT, grant(b"C" * 16, role, impostor, root=root).signed)
    parts = [part for part in original.bundle.parts if part.kind is not PartKind.PLATFORM_GRANT]
    owned = [signed_by(part, impostor) if SIGNERS[part.kind] is Signer.PLATFORM else part for part in parts]
    kept = next(part for part in original.bundle.parts if part.kind is PartKind.PLATFORM_GRANT)
    forged = replace(original.bundle, parts=(*owned, chance.choice((granted, kept))))
    return written(original.bundle, list(recorded(forged, signer=impostor).parts))


def resealed(original: Original, part: Part, body: Body, chance: random.Random) -> bytes:
    """A part by another hand than the one that has to sign it."""
    right = original.keys.of(SIGNERS[part.kind])
    forged = Part(part.kind, sealed(body, chance.choice(other_hands(right))).signed)
    parts = [forged if one == part else one for one in original.bundle.parts]
    if part.kind is PartKind.CHARGE_RECORD or chance.random() < 0.5:
        return written(original.bundle, parts)
    return written(original.bundle, list(recorded(replace(original.bundle, parts=tuple(parts))).parts))


def other_hands(right: PublicKey) -> tuple[SigningKey, ...]:
    return tuple(hand for hand in HANDS if hand.public != right)


def signed_by(part: Part, hand: SigningKey) -> Part:
    return Part(part.kind, sealed(peek(SIGNED[part.kind], part.signed), hand).signed)


def sealed(body: Body, hand: SigningKey) -> Verified[Any]:
    one: Verified[Any] = seal(body, hand)
    return one


def changed(body: Any, chance: random.Random) -> Any:
    """A body with one field that says something else."""
    name = chance.choice(body.__struct_fields__)
    return replace(body, **{name: otherwise(getattr(body, name), chance)})


def otherwise(value: Any, chance: random.Random) -> Any:
    match value:
        case bool():
            return not value
        case Enum():
            return chance.choice(tuple(type(value)))
        case int():
            return value + chance.choice((1, 60, 1_000_000))
        case bytes() if value:
            at = chance.randrange(len(value))
            return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        case str():
            return f"{value}x"
        case tuple():
            return value[:-1]
        case _:
            return value


def written(bundle: Bundle, parts: list[Part]) -> bytes:
    """A file of these parts, in their order where they have one."""
    try:
        return encode(replace(bundle, parts=in_order(tuple(parts))))
    except (Rejected, KeyError):
        return encode(replace(bundle, parts=tuple(parts)))


MUTATIONS: tuple[Mutation, ...] = (
    with_flipped_bits,
    cut_or_longer,
    with_parts_in_another_order,
    with_contents_swapped,
    with_a_part_dropped,
    with_a_part_doubled,
    with_a_part_of_another_bundle,
    with_a_part_by_another_hand,
    with_a_field_changed_by_another_hand,
    under_a_platform_that_is_not_granted,
)
