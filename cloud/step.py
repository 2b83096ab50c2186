"""The decisions of one batch: each item in its order, on the working set as the items before left it.

A message is the next of its conversation, or is answered as it was before. What a decision changes is signed where the platform
states something, numbered, and added to the working set as rows; what can fail comes first, so that a message that is parked
leaves nothing behind.
"""

import logging
from collections.abc import Callable
from typing import Any

from cloud.bus.mail import Outgoing, StatelessRefusal
from cloud.domain import lifecycle, matching
from cloud.domain.conversation import Arrival, Received, arrival
from cloud.domain.inbound import OrderMessage, Refused, RequestAcknowledged, TerminalMessage, TimerFired
from cloud.domain.inventory import take_inventory
from cloud.domain.merging import SnapshotTaken
from cloud.domain.order import Decision, Order, Participant, RulingNotice, Send, Sender, SettledNotice, Side, Wait
from cloud.items import Acknowledged, Command, Instruction, Item, Outcome, Presence
from cloud.restoring import merge_snapshot
from cloud.sealing import PlatformKey, SealedStatements, seal_statements
from cloud.store import tables
from cloud.store.asset_rows import as_record, asset_changes, asset_row
from cloud.store.ledger_rows import charge_row
from cloud.store.rows import event_row, screening_row
from cloud.work import Inbound, Peer, WorkingSet
from energyshare.errors import Reason, Rejected
from energyshare.messages import Demand, Inventory, Message, RejectedMessage
from energyshare.records import replace
from energyshare.values import Instant, Number, OrderId, OrderState, ProviderId, TerminalId
from energyshare.wire import Envelope, encode_envelope

logger = logging.getLogger(__name__)

RETRY_US = 3_600_000_000


class Step:
    """The decisions of one batch, on its working set."""

    def __init__(self, work: WorkingSet, outcome: Outcome, platform: PlatformKey, now: Instant) -> None:
        self._work = work
        self._outcome = outcome
        self._platform = platform
        self._now = now

    def take(self, item: Item) -> None:
        match item:
            case Inbound():
                self._take_message(item)
            case Acknowledged(terminal, order_id, number):
                key = {"key_terminal": terminal, "key": order_id or b"", "upto": number}
                self._work.changes.acknowledged.append(key)
                if order_id is not None and order_id in self._work.orders:
                    self._note_acknowledged(terminal, self._work.orders[order_id], number)
            case Presence(provider, online):
                self._work.online = self._work.online | {provider} if online else self._work.online - {provider}
            case Command(run, reply):
                self._outcome.replies.append((reply, self._answer(run)))
            case Instruction(reply=reply):
                self._outcome.replies.append((reply, self._instruct(item)))

    def fire(self, order_id: OrderId, timer: TimerFired) -> None:
        """Let a timer of an order fire, unless the order has moved on."""
        order = self._work.orders[order_id]
        try:
            decision = lifecycle.decide(order, timer, None, self._work.facts(order_id, timer, None), self._now)
            self._apply(decision, "timer", timer.waited_for)
        except Exception:
            logger.exception("a timer of order %s failed and is tried again in an hour", order_id.hex())
            retry = replace(order.timer, due=Instant(self._now + RETRY_US)) if order.timer else None
            failed = Decision(replace(order, timer=retry, version=order.version + 1), "the timer failed")
            self._apply(failed, "timer", timer.waited_for)

    def _note_acknowledged(self, terminal: TerminalId, order: Order, number: int) -> None:
        """Let an order go on that waits until the user's terminal holds its settlement request."""
        asked = order.work.asked if order.work else None
        if asked is None or terminal != order.user or number < asked.envelope:
            return
        if order.timer is not None and order.timer.wait is Wait.SERVICE_ACKNOWLEDGEMENT:
            message = RequestAcknowledged()
            facts = self._work.facts(order.id, message, None)
            self._apply(lifecycle.decide(order, message, None, facts, self._now), "cloud", "RequestAcknowledged")

    def _instruct(self, item: Instruction) -> Rejected | None:
        order = self._work.orders.get(item.order_id)
        if order is None:
            return Rejected(Reason.UNKNOWN_ORDER)
        try:
            sender = _instructor(order, item.peer)
            facts = self._work.facts(order.id, item.message, item.peer)
            decision = lifecycle.decide(order, item.message, sender, facts, self._now)
            self._apply(decision, "operator", type(item.message).__name__)
        except Rejected as refusal:
            return refusal
        if item.also is not None:
            item.also(self._work, self._now)
        return None

    def park(self, inbound: Inbound, error: str) -> None:
        """Put a message aside and answer INTERNAL under its number."""
        reference = inbound.raw_hash.hex()[:12]
        row = {
            "at": self._now,
            "terminal_id": inbound.peer.terminal,
            "order_id": inbound.order_id or b"",
            "number": inbound.number,
            "body": inbound.raw,
            "error": f"{reference} {error}",
        }
        self._work.changes.insert(tables.parked, row)
        self._refuse(inbound, Rejected(Reason.INTERNAL, parked=reference))

    def _take_message(self, inbound: Inbound) -> None:
        try:
            if not self._is_next(inbound):
                return
        except Rejected as refusal:
            self._refuse_statelessly(inbound, refusal)
            return
        try:
            self._decide(inbound)
        except Rejected as refusal:
            self._refuse(inbound, refusal)
        except Exception as error:
            logger.exception("a message failed and is parked")
            self.park(inbound, repr(error))

    def _is_next(self, inbound: Inbound) -> bool:
        """Look at a message's number; what is not the next is answered here.

        Raises: Rejected when there is no such conversation for this terminal.
        """
        received: Received | None
        if inbound.order_id is None:
            received = self._work.terminals[inbound.peer.terminal]
        else:
            order = self._work.orders.get(inbound.order_id)
            if order is None:
                return _opens(inbound)
            received = order.participants.get(inbound.peer.terminal) or _newcomer(order, inbound)
        if arrival(received, inbound.number, inbound.raw_hash) is Arrival.NEXT:
            return True
        self._acknowledge(inbound.peer.terminal, inbound.order_id, received.last_in)
        return False

    def _decide(self, inbound: Inbound) -> None:
        message, peer = inbound.message, inbound.peer
        if isinstance(message, Refused):
            raise Rejected(message.reason, **message.metadata)
        if inbound.order_id is None:
            self._decide_for_terminal(inbound, message)
            return
        if isinstance(message, Inventory | SnapshotTaken):
            raise Rejected(Reason.MALFORMED, problem="this message belongs to no order")
        facts = self._work.facts(inbound.order_id, message, peer)
        order = self._work.orders.get(inbound.order_id)
        if order is None:
            assert isinstance(message, Demand)
            sender = Sender(peer.terminal, Side(peer.role), peer.account_id, peer.key)
            decision = matching.open_order(inbound.order_id, message, sender, facts, self._now)
            if decision.order.state is OrderState.DEMANDED:
                self._work.open_orders[peer.account_id] = facts.open_orders + 1
            decision = replace(decision, order=replace(decision.order, version=1))
        else:
            order = _joined_by(order, inbound)
            sender = Sender(peer.terminal, order.participants[peer.terminal].side, peer.account_id, peer.key)
            decision = lifecycle.decide(order, message, sender, facts, self._now)
        self._apply(decision, peer.role, type(message).__name__, inbound)
        self._acknowledge(peer.terminal, inbound.order_id, inbound.number)

    def _decide_for_terminal(self, inbound: Inbound, message: OrderMessage | TerminalMessage | SnapshotTaken) -> None:
        if isinstance(message, SnapshotTaken):
            self._merge(inbound, message)
            return
        if not isinstance(message, Inventory):
            raise Rejected(Reason.MALFORMED, problem="this message belongs to an order")
        if inbound.peer.role != Side.PROVIDER:
            raise Rejected(Reason.WRONG_ROLE)
        work, provider = self._work, ProviderId(inbound.peer.terminal)
        taken = take_inventory(provider, message, work.assets, work.tariffs.keys(), work.settings.currency)
        for hashed, body in taken.tariffs.items():
            work.changes.insert(tables.tariffs, {"hash": hashed, "body": body})
            work.tariffs[hashed] = body
        for asset in taken.new:
            work.changes.insert(tables.assets, asset_row(provider, asset))
        for asset in taken.changed:
            work.changes.assets.append(asset_changes(asset) | {"key": asset.asset_id})
        work.assets |= {asset.asset_id: as_record(provider, asset, work.assets) for asset in (*taken.new, *taken.changed)}
        self._count_in(inbound)
        self._acknowledge(inbound.peer.terminal, None, inbound.number)

    def _merge(self, inbound: Inbound, taken: SnapshotTaken) -> None:
        """Merge what a terminal knows of its orders."""
        peer = inbound.peer
        merge_snapshot(self._work, taken, peer, self._now, lambda decision, event: self._apply(decision, peer.role, event))
        self._count_in(inbound)
        self._acknowledge(peer.terminal, None, inbound.number)

    def _apply(self, decision: Decision, actor: str, event: str, inbound: Inbound | None = None) -> None:
        """Put a decision into the working set: sign what the platform states, number the messages, add the rows.

        What can fail comes first, so that a message that is parked leaves nothing behind.
        """
        work = self._work
        sealed = seal_statements(decision.statements, self._platform) if decision.statements else None
        participants = dict(decision.order.participants)
        if inbound is not None:
            known = participants.get(inbound.peer.terminal) or _newcomer(decision.order, inbound)
            participants[inbound.peer.terminal] = _counted_in(known, inbound)
        outgoing = [_numbered(participants, decision.order.id, send, sealed) for send in decision.send]
        order = replace(decision.order, participants=participants)
        if sealed is not None and order.bill is not None:
            order = replace(order, bill=replace(order.bill, digest=sealed.charge.digest))
        work.add_transfers(decision.transfers)
        for envelope in outgoing:
            self._put_out(envelope)
        work.orders[order.id] = work.changes.orders[order.id] = order
        work.add_parts(order.id, (*decision.parts, *(sealed.parts if sealed else ())))
        if decision.asset is not None:
            work.hold_asset(decision.asset)
        if decision.conflict:
            self._put_device_aside(order, decision.note)
        if decision.screening is not None:
            work.changes.insert(tables.screenings, screening_row(order.id, decision.screening))
        if sealed is not None:
            work.changes.insert(tables.charge_records, charge_row(sealed.charge))
        work.changes.insert(tables.order_events, event_row(order, self._now, actor, event, decision.note))

    def _put_device_aside(self, order: Order, note: str) -> None:
        """Offer an asset to nobody until the operator has looked at it."""
        self._work.suspend_asset(order.offer.asset_id)
        row = {"at": self._now, "kind": "RECEIPT_CONFLICT", "order_id": order.id, "note": note}
        self._work.changes.insert(tables.alerts, row)

    def _put_out(self, out: Outgoing) -> None:
        row = {"terminal_id": out.terminal, "order_id": out.order_id or b"", "number": out.number, "body": out.raw}
        self._work.changes.insert(tables.envelopes, row)
        self._outcome.envelopes.append(out)

    def _refuse(self, inbound: Inbound, refusal: Rejected) -> None:
        """Answer a message that is the next of its conversation: its number is spent, nothing else changes."""
        if inbound.order_id is None:
            number = self._count_in(inbound, answers=1)
            answer = RejectedMessage(inbound.number, refusal.reason, refusal.metadata)
            self._put_out(_outgoing(inbound.peer.terminal, None, number, answer))
            self._acknowledge(inbound.peer.terminal, None, inbound.number)
            return
        order = self._work.orders.get(inbound.order_id)
        if order is None:
            self._refuse_statelessly(inbound, refusal)
            return
        answer = RejectedMessage(inbound.number, refusal.reason, refusal.metadata)
        unchanged = Decision(replace(order, version=order.version + 1), refusal.reason, (Send(inbound.peer.terminal, answer),))
        self._apply(unchanged, inbound.peer.role, f"Rejected {type(inbound.message).__name__}", inbound)
        self._acknowledge(inbound.peer.terminal, inbound.order_id, inbound.number)

    def _refuse_statelessly(self, inbound: Inbound, refusal: Rejected) -> None:
        self._outcome.refusals.append(
            StatelessRefusal(inbound.peer.terminal, inbound.order_id, inbound.number, refusal.reason, dict(refusal.metadata))
        )

    def _count_in(self, inbound: Inbound, answers: int = 0) -> Number:
        """Advance the conversation with a terminal itself; gives the number of the answer, if there is one."""
        before = self._work.terminals[inbound.peer.terminal]
        after = before.received(inbound.number, inbound.raw_hash, answers)
        self._work.terminals[inbound.peer.terminal] = after
        self._work.changes.terminals.append(after.row())
        return Number(after.last_out)

    def _acknowledge(self, terminal: TerminalId, order_id: OrderId | None, number: int) -> None:
        self._outcome.acks[terminal, order_id] = number

    def _answer(self, run: Callable[[WorkingSet, Instant], Any]) -> Any:
        try:
            return run(self._work, self._now)
        except Rejected as refusal:
            return refusal


def _instructor(order: Order, peer: Peer | None) -> Sender:
    if peer is None:
        return Sender(TerminalId(bytes(16)), Side.OPERATOR)
    known = order.participants.get(peer.terminal)
    if known is None:
        raise Rejected(Reason.UNKNOWN_ORDER)
    return Sender(peer.terminal, known.side, peer.account_id, peer.key)


def _newcomer(order: Order, inbound: Inbound) -> Participant:
    """Let another terminal of the user's account take part; raises Rejected{UNKNOWN_ORDER} for a stranger."""
    if inbound.peer.role != Side.USER or inbound.peer.account_id != order.account_id:
        raise Rejected(Reason.UNKNOWN_ORDER)
    return Participant(inbound.peer.terminal, Side.ACCOUNT)


def _joined_by(order: Order, inbound: Inbound) -> Order:
    """Give an order with a message's sender among its participants, so that it is told what follows from it."""
    if inbound.peer.terminal in order.participants:
        return order
    return replace(order, participants={**order.participants, inbound.peer.terminal: _newcomer(order, inbound)})


def _opens(inbound: Inbound) -> bool:
    """Say whether a message may open an order; raises Rejected otherwise."""
    if inbound.number != 1 or not isinstance(inbound.message, Demand | Refused):
        raise Rejected(Reason.UNKNOWN_ORDER)
    if inbound.peer.role != Side.USER:
        raise Rejected(Reason.WRONG_ROLE)
    return True


def _numbered(
    participants: dict[TerminalId, Participant], order_id: OrderId, send: Send, sealed: SealedStatements | None
) -> Outgoing:
    """Number a message in its conversation, and count it in the participants."""
    message = send.message
    if isinstance(message, SettledNotice | RulingNotice):
        assert sealed is not None
        message = sealed.told(message)
    to = participants[send.terminal]
    number = Number(to.last_out + 1)
    participants[send.terminal] = Participant(to.terminal, to.side, to.last_in, to.last_in_hash, number)
    return _outgoing(send.terminal, order_id, number, message)


def _outgoing(terminal: TerminalId, order_id: OrderId | None, number: Number, message: Message) -> Outgoing:
    return Outgoing(terminal, order_id, number, encode_envelope(Envelope(order_id, number, message)))


def _counted_in(sender: Participant, inbound: Inbound) -> Participant:
    return Participant(sender.terminal, sender.side, inbound.number, inbound.raw_hash, sender.last_out)
