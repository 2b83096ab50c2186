"""Doing what a person asks of a provider's terminal: each act is one of its methods."""

from pathlib import Path

from energyshare.bodies import ServiceItem
from energyshare.values import DurationS, Minor
from terminals.provider.acts import (
    Act,
    AskLine,
    AskSettlement,
    CancelOrder,
    CheckIn,
    CloseAsset,
    ConfirmEnd,
    Facts,
    Item,
    OpenAsset,
    OrderAct,
    ProposeWork,
    RefuseEnd,
    ReleaseDevice,
    Reload,
    StateNotReturned,
    WithdrawOffers,
)
from terminals.provider.terminal import ProviderTerminal


async def perform(terminal: ProviderTerminal, act: Act) -> Facts:
    """Do an act; gives what it concerned, and what is not in the journal. Raises as the terminal's methods do."""
    match act:
        case CloseAsset(name, reason):
            return {"asset": terminal.close_asset(name, reason).name}
        case OpenAsset(name):
            return {"asset": terminal.open_asset(name).name}
        case AskLine():
            return {"connected": int(terminal.is_connected)}
        case Reload(config):
            return {"changed": await terminal.reload(Path(config) if config else None)}
        case _:
            return {"order": act.order, **_perform_on_order(terminal, act)}


def _perform_on_order(terminal: ProviderTerminal, act: OrderAct) -> Facts:
    order_id = terminal.numbered(act.order)
    match act:
        case CancelOrder(_, reason):
            terminal.cancel(order_id, reason)
        case ConfirmEnd():
            terminal.confirm_end(order_id)
        case RefuseEnd(_, claimed, reason):
            terminal.refuse_end(order_id, Minor(claimed), reason)
        case StateNotReturned():
            terminal.state_not_returned(order_id)
        case ReleaseDevice():
            terminal.release(order_id)
        case WithdrawOffers():
            terminal.withdraw(order_id)
        case CheckIn():
            return {"address": terminal.check_in_address(order_id)}
        case ProposeWork(_, items, duration_s):
            line = terminal.propose_amendment(order_id, _items(items), DurationS(duration_s))
            return {"amendment": line.number, "hold_minor": line.hold_minor}
        case AskSettlement(_, items, duration_s, total_minor):
            duration = None if duration_s is None else DurationS(duration_s)
            total = None if total_minor is None else Minor(total_minor)
            asked = terminal.request_settlement(order_id, None if items is None else _items(items), duration, total)
            return {"total_minor": asked.total_minor}
    return {}


def _items(items: list[Item]) -> tuple[ServiceItem, ...]:
    return tuple(ServiceItem(item.name, item.quantity) for item in items)
