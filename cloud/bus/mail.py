"""What leaves a node for a terminal once it is committed."""

from collections.abc import Mapping

from msgspec import Struct

from energyshare.errors import Reason
from energyshare.values import Number, OrderId, TerminalId


class Outgoing(Struct, frozen=True):
    """An envelope for a terminal, committed."""

    terminal: TerminalId
    order_id: OrderId | None
    number: Number
    raw: bytes


class StatelessRefusal(Struct, frozen=True):
    """An answer to a message whose conversation does not exist here."""

    terminal: TerminalId
    order_id: OrderId | None
    number: Number
    reason: Reason
    metadata: Mapping[str, str]
