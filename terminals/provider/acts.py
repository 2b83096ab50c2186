"""What a person can have a provider's terminal do, as values: the same over the socket of a running daemon and without one."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec

OrderNumber = Annotated[int, msgspec.Meta(ge=1, le=2**40)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
AmountMinor = Annotated[int, msgspec.Meta(ge=-(10**15), le=10**15)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=366 * 86_400)]
Facts = dict[str, str | int]


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a service."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class CancelOrder(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Call an order off."""

    order: OrderNumber
    reason: Text


class ConfirmEnd(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Confirm an end now."""

    order: OrderNumber


class RefuseEnd(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Claim a part of a deposit at an end."""

    order: OrderNumber
    claimed_minor: AmountMinor
    reason: Text


class StateNotReturned(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Say that a battery has not come back."""

    order: OrderNumber


class ReleaseDevice(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """End a session that stayed open at its device."""

    order: OrderNumber


class WithdrawOffers(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Take back the offers of an order."""

    order: OrderNumber


class CheckIn(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Say where a job's customer has to check in."""

    order: OrderNumber


class ProposeWork(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Propose extra work: items, time, or both."""

    order: OrderNumber
    items: Annotated[list[Item], msgspec.Meta(max_length=50)]
    duration_s: Seconds = 0


class AskSettlement(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Ask for settlement; what is left out follows from what was agreed and the time since the check-in."""

    order: OrderNumber
    items: Annotated[list[Item], msgspec.Meta(max_length=100)] | None = None
    duration_s: Seconds | None = None
    total_minor: AmountMinor | None = None


class CloseAsset(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Take an asset out of service."""

    asset: Text
    reason: Text


class OpenAsset(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Put an asset back into service."""

    asset: Text


class Reload(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Read the configuration anew; another file when one is named."""

    config: Text | None = None


class AskLine(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Ask whether the cloud is connected."""


EndAct = ConfirmEnd | RefuseEnd | StateNotReturned | ReleaseDevice
OrderAct = EndAct | CancelOrder | WithdrawOffers | CheckIn | ProposeWork | AskSettlement
Act = OrderAct | CloseAsset | OpenAsset | Reload | AskLine
Perform = Callable[[Act], Awaitable[Facts]]
