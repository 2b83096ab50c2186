"""What leaves a node for a terminal once it is committed."""

from collections.abc import Mapping
from dataclasses import dataclass

from energyshare.errors import Reason
from energyshare.values import Number, OrderId, TerminalId


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An envelope for a terminal, committed."""

    terminal: TerminalId
    order_id: OrderId | None
    number: Number
    raw: bytes


@dataclass(frozen=True, slots=True)
class StatelessRefusal:
    """An answer to a message whose conversation does not exist here."""

    terminal: TerminalId
    order_id: OrderId | None
    number: Number
    reason: Reason
    metadata: Mapping[str, str]
