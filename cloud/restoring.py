"""Merging a terminal's Snapshot into the working set: what `cloud.domain.merging` decides on is loaded as it is named.

A Snapshot comes once after a loss, so nothing here is set-wise. What one order's parts fail to prove does not keep the others
from being merged. Source: ADR-0007.
"""

import logging
from collections.abc import Callable

from sqlalchemy import select

from cloud.domain import ledger, lifecycle
from cloud.domain.inbound import OfferMade, TimerFired
from cloud.domain.merging import (
    Happened,
    Holder,
    KnownOrder,
    SnapshotTaken,
    catch_up,
    is_billing,
    require_same_bill,
    sender_of,
    to_decide,
)
from cloud.domain.order import Decision, Facts, Order, Sender, Side, Timer, Wait
from cloud.greeting import parts_of
from cloud.store import tables as t
from cloud.work import Peer, WorkingSet
from energyshare.errors import Rejected
from energyshare.records import replace
from energyshare.values import AccountId, AssetId, Instant, OrderId, ProviderId, TerminalId

logger = logging.getLogger(__name__)

Apply = Callable[[Decision, str], None]
"""Puts a decision into the working set, under the name of the event."""


def merge_snapshot(work: WorkingSet, taken: SnapshotTaken, peer: Peer, now: Instant, apply: Apply) -> list[OrderId]:
    """Merge what a terminal knows; gives the orders that are not known here even now."""
    merging = _Merging(work, peer, now, apply)
    for known in taken.orders:
        merging.merge(known)
    return [known.order_id for known in taken.orders if known.order_id not in work.orders]


class _Merging:
    """The orders of one Snapshot, one after the other."""

    def __init__(self, work: WorkingSet, peer: Peer, now: Instant, apply: Apply) -> None:
        self._work = work
        self._peer = peer
        self._now = now
        self._apply = apply

    def merge(self, known: KnownOrder) -> None:
        """Bring an order to its voucher, then decide on what happened since."""
        holder = self._holder(known)
        self._load(known, holder)
        try:
            while (decision := self._step(known, holder)) is not None:
                self._apply(decision, "Snapshot")
        except Rejected as refusal:
            logger.warning("order %s can't be restored from a terminal's evidence: %s", known.order_id.hex(), refusal)
            return
        for happened in to_decide(known):
            self._decide(known, happened)

    def _step(self, known: KnownOrder, holder: Holder | None) -> Decision | None:
        kept = frozenset(part.digest for part in self._work.parts[known.order_id])
        offer = known.agreement.offer.offer.body if known.agreement else None
        asset = self._work.assets.get(offer.asset.asset_id) if offer else None
        facts = Facts(self._work.settings, asset=asset, balances=self._work.balances)
        order = self._work.orders.get(known.order_id)
        return catch_up(order, known, holder, self._sender(order), facts, kept, self._now)

    def _decide(self, known: KnownOrder, happened: Happened) -> None:
        """Decide on something that happened; what is known already, or does not fit, is refused and changes nothing."""
        order = self._work.orders.get(known.order_id)
        if order is None:
            return
        try:
            decision = self._decision(order, happened, self._now)
            if known.record is not None and is_billing(order, decision):
                decision = self._decision(order, happened, known.record.settled_time)
                require_same_bill(decision, known.record)
            self._apply(decision, type(happened.message).__name__)
        except Rejected as refusal:
            logger.info("order %s has no use for a %s: %s", order.id.hex(), type(happened.message).__name__, refusal)

    def _decision(self, order: Order, happened: Happened, now: Instant) -> Decision:
        facts = self._work.facts(order.id, happened.message, None)
        if isinstance(happened.message, TimerFired):  # the silence that the platform signed is over, whatever waits now
            waited = replace(order, timer=Timer(Wait(happened.message.waited_for), happened.message.due))
            return lifecycle.decide(waited, happened.message, None, facts, now)
        return lifecycle.decide(order, happened.message, sender_of(order, happened, self._sender(order)), facts, now)

    def _sender(self, order: Order | None) -> Sender:
        participant = order.participants.get(self._peer.terminal) if order else None
        side = participant.side if participant else Side(self._peer.role)
        return Sender(self._peer.terminal, side, self._peer.account_id, self._peer.key)

    def _holder(self, known: KnownOrder) -> Holder | None:
        """Find the user's terminal whose key the voucher names."""
        key, c = known.holder_key, t.terminals.c
        row = self._work.unit.row(select(c.id, c.account_id).where(c.public_key == key, c.role == "user")) if key else None
        return Holder(TerminalId(row.id), AccountId(row.account_id), key) if row is not None and key is not None else None

    def _load(self, known: KnownOrder, holder: Holder | None) -> None:
        """Load what a decision on an order may look at, unless the batch has it."""
        work = self._work
        if known.order_id not in work.orders:
            work.orders |= work.unit.orders([known.order_id], {})
        work.parts.setdefault(known.order_id, parts_of(work, known.order_id))
        order = work.orders.get(known.order_id)
        standing = [(o.asset_id, o.provider_id) for o in order.offers.values()] if order else []
        for asset_id, provider in (*standing, *_offered(known)):
            if asset_id not in work.assets:
                work.assets |= work.unit.assets([asset_id])
            work.balance(ledger.provider_account(provider))
        for account in {one.account_id for one in (order, holder) if one is not None}:
            work.balance(ledger.user_account(account))
            work.balance(ledger.receivable_account(account))


def _offered(known: KnownOrder) -> list[tuple[AssetId, ProviderId]]:
    """Name what the offers of a Snapshot are about."""
    made = [known.agreement.offer] if known.agreement else []
    made += [happened.message for happened in known.happened if isinstance(happened.message, OfferMade)]
    return [(offer.offer.body.asset.asset_id, offer.offer.body.provider_id) for offer in made]
