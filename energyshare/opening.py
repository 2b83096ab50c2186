"""Opening all parts of a bundle: each is checked with the key that has to have signed it, whatever else it is used for.

The hint at the key is checked too: no signature covers it, so a bundle would otherwise verify in more than one form.
"""

from typing import Any, TypeVar

from msgspec import Struct

from energyshare.bodies import Body, ChargeRecordBody, ReadingBody, Verified
from energyshare.bundle import BODIES, SEVERAL, SIGNERS, Parts, Signer, about
from energyshare.errors import Reason, Rejected
from energyshare.signing import key_id
from energyshare.values import OrderId, PartKind, PublicKey
from energyshare.wire import open_signed, take_apart

BodyT = TypeVar("BodyT", bound=Body)

OPENED: dict[PartKind, type[Any]] = {
    **BODIES,
    **SEVERAL,
    PartKind.READING: ReadingBody,
    PartKind.CHARGE_RECORD: ChargeRecordBody,
}
GRANTS = (PartKind.ISSUER_GRANT, PartKind.DEVICE_GRANT, PartKind.PLATFORM_GRANT)


class Keys(Struct, frozen=True):
    """Whose signatures count in a bundle."""

    root: PublicKey
    platform: PublicKey
    issuer: PublicKey
    device: PublicKey
    holder: PublicKey

    def of(self, signer: Signer) -> PublicKey:
        """Give the key of one who signs."""
        return {
            Signer.ROOT: self.root,
            Signer.PLATFORM: self.platform,
            Signer.ISSUER: self.issuer,
            Signer.DEVICE: self.device,
            Signer.HOLDER: self.holder,
        }[signer]


class Opened(Struct, frozen=True):
    """The bodies of a bundle's parts, each checked; given by their type."""

    bodies: tuple[Verified[Any], ...]

    def all(self, cls: type[BodyT]) -> tuple[Verified[BodyT], ...]:
        """Give the bodies of a type, in their order."""
        return tuple(one for one in self.bodies if isinstance(one.body, cls))

    def maybe(self, cls: type[BodyT]) -> Verified[BodyT] | None:
        """Give the body of a type, if there is one."""
        return next(iter(self.all(cls)), None)

    def one(self, cls: type[BodyT]) -> Verified[BodyT]:
        """Give the body of a type; raises Rejected{PART_MISSING} when there is none."""
        found = self.maybe(cls)
        if found is None:
            raise Rejected(Reason.PART_MISSING, part=next(kind.name for kind, body in OPENED.items() if body is cls))
        return found


def open_all(parts: Parts, keys: Keys, order_id: OrderId) -> Opened:
    """Check every part's signature, that it hints at the key that made it, and that it is of one order.

    Grants name no order, and were opened before. Raises: Rejected with SIGNATURE_INVALID, MALFORMED or ORDER_FOREIGN.
    """
    opened: list[Verified[Any]] = []
    for kind, signer in SIGNERS.items():
        with about(kind):
            for signed in parts.all(kind):
                _require_hint(signed, keys.of(signer))
                opened += () if kind in GRANTS else (_open(kind, signed, keys.of(signer), order_id),)
    return Opened(tuple(opened))


def _open(kind: PartKind, signed: bytes, key: PublicKey, order_id: OrderId) -> Verified[Any]:
    one: Verified[Any] = open_signed(OPENED[kind], signed, key)
    if one.body.order_id != order_id:
        raise Rejected(Reason.ORDER_FOREIGN)
    return one


def _require_hint(signed: bytes, key: PublicKey) -> None:
    if take_apart(signed).key_id != key_id(key):
        raise Rejected(Reason.SIGNATURE_INVALID, problem="it hints at another key")
