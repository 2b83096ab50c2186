"""The working set of one batch: what was loaded, as the decisions before left it.

`WorkingSet.load` does all reads of a batch at once; decisions then see each other's effects through it, and everything that
they change collects in `Changes`, to be saved in the same transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from msgspec import Struct

from cloud.domain import ledger
from cloud.domain.inbound import EndReported, EndRequested, InboundMessage, OfferMade, SelectionMade
from cloud.domain.ledger import Balance, LedgerAccount
from cloud.domain.lifecycle import BILLING
from cloud.domain.merging import SnapshotTaken
from cloud.domain.order import AssetHold, BillingFacts, Facts, Order, StandingOffer, StoredPart
from cloud.domain.screening import NEAR_M, AssetRecord, needs_more, screen
from cloud.domain.settings import Settings
from cloud.store import tables
from cloud.store.ledger_rows import transfer_row
from cloud.store.rows import part_row
from cloud.store.unit import Changes, TerminalRow, Unit
from energyshare.bodies import (
    EndReceiptBody,
    OfferBody,
    ReadingBody,
    SettlementRequestBody,
    StartReceiptBody,
    VoucherBody,
)
from energyshare.charging import Evidence
from energyshare.messages import Demand, Inventory
from energyshare.records import replace
from energyshare.values import (
    AccountId,
    AssetId,
    Digest,
    Kind,
    Metres,
    Number,
    OrderId,
    PartKind,
    ProviderId,
    PublicKey,
    TerminalId,
)
from energyshare.wire import reread


class Peer(Struct, frozen=True):
    """A terminal as its certificate and the database name it."""

    terminal: TerminalId
    role: str
    account_id: AccountId
    key: PublicKey
    name: str = ""


class Inbound(Struct, frozen=True):
    """A message of a conversation, opened; `raw` is its envelope as it came."""

    peer: Peer
    order_id: OrderId | None
    number: Number
    message: InboundMessage | SnapshotTaken
    raw: bytes

    @property
    def raw_hash(self) -> bytes:
        """Tells whether a number comes again with the same bytes."""
        return sha256(self.raw).digest()


@dataclass(slots=True)
class WorkingSet:
    """Everything that a batch may look at and change."""

    unit: Unit
    settings: Settings
    online: frozenset[ProviderId]
    tariffs: dict[Digest, bytes]
    suspended: frozenset[bytes] = frozenset()
    commissions: Mapping[tuple[bytes, Kind], int] = field(default_factory=dict)
    orders: dict[OrderId, Order] = field(default_factory=dict)
    parts: dict[bytes, list[StoredPart]] = field(default_factory=dict)
    nearby: dict[OrderId, tuple[AssetRecord, ...]] = field(default_factory=dict)
    assets: dict[AssetId, AssetRecord] = field(default_factory=dict)
    balances: dict[LedgerAccount, Balance] = field(default_factory=dict)
    open_orders: dict[bytes, int] = field(default_factory=dict)
    terminals: dict[TerminalId, TerminalRow] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    def load(self, messages: Sequence[Inbound], due: Sequence[OrderId], recent: Mapping[OrderId, Order]) -> None:
        """Read all that a batch names, set-wise: orders, then assets, then accounts.

        `recent` holds orders as this processor, the database's only writer, saved them.
        """
        unit = self.unit
        named = {m.order_id for m in messages if m.order_id is not None} | set(due)
        self.orders = unit.orders(named, recent)
        demands = {
            m.order_id: m.message
            for m in messages
            if isinstance(m.message, Demand) and m.order_id is not None and m.order_id not in self.orders
        }
        self.parts = unit.parts(self._billed(messages, due))
        self._look_around(demands)
        self.assets = unit.assets(self._assets(messages, due))
        stated = (m.message.assets for m in messages if isinstance(m.message, Inventory))
        self._load_tariffs({asset.tariff_hash for assets in stated for asset in assets})
        self.open_orders = unit.open_orders({m.peer.account_id for m in messages if m.order_id in demands})
        accounts = self._accounts(messages, due)
        self.balances = {account: Balance(account) for account in accounts} | unit.balances(accounts)
        self.terminals = unit.terminals({m.peer.terminal for m in messages if m.order_id is None})

    def facts(self, order_id: OrderId, message: InboundMessage, peer: Peer | None) -> Facts:
        """Give what a decision on one message may look at."""
        order = self.orders.get(order_id)
        return Facts(
            settings=self._settings_for(order),
            nearby=tuple(self.assets.get(a.asset_id, a) for a in self.nearby.get(order_id, ())),
            tariffs=self.tariffs,
            online=self._in_service,
            open_orders=self.open_orders.get(peer.account_id, 0) if peer else 0,
            is_suspended=peer is not None and peer.account_id in self.suspended,
            asset=self._asset_of(order, message),
            balances=self.balances,
            billing=self._billing(order) if order and _can_bill(order, message) else None,
        )

    @property
    def _in_service(self) -> frozenset[ProviderId]:
        """The providers that are asked: online, and not suspended."""
        return self.online - self.suspended if self.suspended else self.online

    def balance(self, account: LedgerAccount) -> Balance:
        """Give one balance, loading it if the batch did not."""
        if account not in self.balances:
            self.balances |= self.unit.balances([account])
        return self.balances.setdefault(account, Balance(account))

    def add_transfers(self, transfers: Sequence[ledger.Transfer]) -> None:
        """Apply transfers to the balances and add their rows, all or none; what they leave in a wallet pays what is owed.

        Raises: Rejected as ledger.apply.
        """
        if not transfers:
            return
        before = {account: self.balance(account) for account in _touched_by(transfers)}
        changed = ledger.apply_all(before, transfers)
        collections = tuple(ledger.collections(before | changed, transfers))
        changed |= ledger.apply_all(before | changed, collections)
        self.balances |= changed
        self.changes.balances |= changed
        for transfer in (*transfers, *collections):
            self.changes.insert(tables.transfers, transfer_row(transfer))

    def add_parts(self, order_id: OrderId, parts: Sequence[StoredPart]) -> None:
        """Keep signed parts of an order."""
        for part in parts:
            self.changes.insert(tables.order_parts, part_row(order_id, part))
        if order_id in self.parts:
            self.parts[order_id] += parts

    def hold_asset(self, hold: AssetHold) -> None:
        """Hold or free an asset."""
        row = {"key": hold.asset_id, "held_by": hold.held_by, "unknown": hold.unknown}
        self.changes.asset_holds.append(row)
        if hold.asset_id in self.assets:
            asset = self.assets[hold.asset_id]
            self.assets[hold.asset_id] = replace(asset, held_by=hold.held_by, unknown=hold.unknown)

    def suspend_asset(self, asset_id: AssetId) -> None:
        """Offer an asset to nobody until the operator lifts that."""
        self.changes.asset_suspensions.append({"key": asset_id, "suspended": True})
        if asset_id in self.assets:
            self.assets[asset_id] = replace(self.assets[asset_id], is_suspended=True)

    def _settings_for(self, order: Order | None) -> Settings:
        """Give the settings with the commission that goes for an order's provider and kind."""
        if not self.commissions or order is None or order.selected is None:
            return self.settings
        own = self.commissions.get((order.offer.provider_id, order.offer.kind))
        return self.settings if own is None else replace(self.settings, commission_bp=own)

    def _billed(self, messages: Sequence[Inbound], due: Sequence[OrderId]) -> set[OrderId]:
        named = {m.order_id for m in messages if m.order_id in self.orders and _can_bill(self.orders[m.order_id], m.message)}
        timed = {order_id for order_id in due if order_id in self.orders and self.orders[order_id].supply is not None}
        return (named & self.orders.keys()) | timed

    def _assets(self, messages: Sequence[Inbound], due: Sequence[OrderId]) -> set[AssetId]:
        """Name the assets of offers and selections, and of orders that may have lost theirs."""
        named = (self.orders.get(i) for i in (*due, *(m.order_id for m in messages if m.order_id)))
        wanted = {order.offer.asset_id for order in named if order and order.selected and not order.hold_minor}
        for inbound in messages:
            order = self.orders.get(inbound.order_id) if inbound.order_id else None
            match inbound.message:
                case OfferMade(offer):
                    wanted.add(offer.body.asset.asset_id)
                case SelectionMade(selection) if order and selection.body.offer_hash in order.offers:
                    wanted.add(order.offers[selection.body.offer_hash].asset_id)
                case Inventory(assets):
                    wanted |= {asset.asset_id for asset in assets}
        return wanted

    def _accounts(self, messages: Sequence[Inbound], due: Sequence[OrderId]) -> set[LedgerAccount]:
        wanted: set[LedgerAccount] = set()
        for inbound in messages:
            order = self.orders.get(inbound.order_id) if inbound.order_id else None
            if order and (isinstance(inbound.message, SelectionMade) or _can_bill(order, inbound.message)):
                wanted |= _accounts_of(order)
        for order_id in due:
            if order_id in self.orders:
                wanted |= _accounts_of(self.orders[order_id])
        return wanted

    def _look_around(self, demands: Mapping[OrderId, Demand]) -> None:
        """Load the assets near each demand's place: those close by of all at once, then further away where too few fit."""
        self._load_within({order_id: min(demand.radius_m, NEAR_M) for order_id, demand in demands.items()}, demands)
        for order_id, demand in demands.items():
            reach = Metres(min(demand.radius_m, NEAR_M))
            while reach < demand.radius_m and self._needs_more(order_id, demand, reach):
                reach = Metres(min(demand.radius_m, 2 * reach))
                self._load_within({order_id: reach}, demands)

    def _load_within(self, reaches: Mapping[OrderId, int], demands: Mapping[OrderId, Demand]) -> None:
        found = self.unit.nearby({order_id: (demands[order_id].place, Metres(reach)) for order_id, reach in reaches.items()})
        self.nearby |= found
        self._load_tariffs({asset.tariff_hash for assets in found.values() for asset in assets})

    def _needs_more(self, order_id: OrderId, demand: Demand, reach: Metres) -> bool:
        most = self.settings.stations_per_demand
        within = replace(demand, radius_m=reach)
        return needs_more(demand, screen(within, self.nearby[order_id], self.tariffs, self._in_service, most), most)

    def _load_tariffs(self, wanted: set[Digest]) -> None:
        self.tariffs |= self.unit.tariffs(wanted - self.tariffs.keys())

    def _asset_of(self, order: Order | None, message: InboundMessage) -> AssetRecord | None:
        match message:
            case OfferMade(offer):
                return self.assets.get(offer.body.asset.asset_id)
            case SelectionMade(selection) if order and selection.body.offer_hash in order.offers:
                return self._offered(order.offers[selection.body.offer_hash])
        return self.assets.get(order.offer.asset_id) if order and order.selected else None

    def _offered(self, offer: StandingOffer) -> AssetRecord | None:
        """Give the asset of an offer; none is to be had of a provider that was suspended since."""
        asset = self.assets.get(offer.asset_id)
        is_suspended = asset is not None and offer.provider_id in self.suspended
        return replace(asset, is_suspended=True) if asset and is_suspended else asset

    def _billing(self, order: Order) -> BillingFacts | None:
        parts = self.parts.get(order.id)
        if parts is None or order.authorization is None:
            return None
        by_digest = {part.digest: part.signed for part in parts}
        assert order.selected is not None
        evidence = Evidence(
            offer=reread(OfferBody, by_digest[order.selected]),
            voucher=reread(VoucherBody, by_digest[order.authorization.digest]),
            start=reread(StartReceiptBody, by_digest[order.supply.start_hash]) if order.supply else None,
            readings=tuple(reread(ReadingBody, part.signed) for part in parts if part.kind is PartKind.READING),
            end=reread(EndReceiptBody, by_digest[order.end_hash]) if order.end_hash else None,
        )
        asked = order.work.asked if order.work else None
        request = reread(SettlementRequestBody, by_digest[asked.digest]) if asked else None
        return BillingFacts(evidence, tuple(parts), request)


def _can_bill(order: Order, message: InboundMessage | SnapshotTaken) -> bool:
    """Say whether a message can end in a bill; an end can only where there is one that it may correct."""
    if isinstance(message, EndReported | EndRequested):
        return order.bill is not None
    return isinstance(message, BILLING)


def _touched_by(transfers: Sequence[ledger.Transfer]) -> set[LedgerAccount]:
    """Name the accounts that transfers may change, and those of the users behind them."""
    named = {account for transfer in transfers for account in (transfer.debit, transfer.credit)}
    for user in ledger.wallets_of(transfers):
        named |= {ledger.user_account(user), ledger.receivable_account(user)}
    return set(filter(ledger.has_balance, named))


def _accounts_of(order: Order) -> set[LedgerAccount]:
    accounts = {ledger.user_account(order.account_id), ledger.receivable_account(order.account_id)}
    if order.selected is not None:
        accounts.add(ledger.provider_account(order.offer.provider_id))
    return accounts
