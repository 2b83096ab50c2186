"""OperatorService: what the operator asks of a node, over a Unix socket in the node's home.

The same object answers when no node runs: then the command itself holds the home's lock (cloud.cli).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from cloud import commands
from cloud.store import people
from cloud.store.readers import Readers
from energyshare import __version__
from energyshare.bodies import GrantBody
from energyshare.credentials import open_grant
from energyshare.errors import Reason, Rejected
from energyshare.places import place_name
from energyshare.rpc_errors import refusing
from energyshare.v1 import operator_pb2 as pb
from energyshare.v1 import operator_pb2_grpc
from energyshare.values import AssetState, Currency, Instant, Kind, OrderState, PublicKey, RequestId, Role
from energyshare.wire import peek

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
PAGE, PAGE_MAX = 50, 100_000


class Caller(Protocol):
    """Runs a command in the next batch."""

    def __call__(self, run: Callable[[Any, Instant], Any]) -> Awaitable[Any]:
        """Give the command's result; raises the Rejected that it ended in."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node knows of itself."""

    ready: Instant | None
    streams: Callable[[], int]
    is_online: Callable[[bytes], bool]


class Operators(operator_pb2_grpc.OperatorServiceServicer):
    """The operator's commands."""

    def __init__(
        self, readers: Readers, call: Caller, facts: NodeFacts, currency: Currency, root: PublicKey, secret: bytes
    ) -> None:
        self._readers = readers
        self._call = call
        self._facts = facts
        self._currency = currency
        self._root = root
        self._secret = secret

    @refusing
    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:
        """Make a join token."""
        if len(request.request_id) != 16:
            raise Rejected(Reason.MALFORMED, field="request_id", problem="must be 16 bytes")
        given = (RequestId(request.request_id), self._secret, request.role, request.name)
        token = await self._call(lambda work, now: commands.create_token(work, *given, now))
        return pb.CreateTokenResponse(token=token.text, expiry_time=_time(token.expiry))

    @refusing
    async def ListOrders(self, request: pb.ListOrdersRequest, context: Context) -> pb.ListOrdersResponse:
        """List orders, newest first."""
        state = _state(request.state)
        rows = await self._read(lambda: people.orders(self._readers, state, _page(request.page_size)))
        return pb.ListOrdersResponse(orders=[_summary(row) for row in rows], currency=self._currency)

    @refusing
    async def GetOrder(self, request: pb.GetOrderRequest, context: Context) -> pb.GetOrderResponse:
        """Show an order with its timeline and money."""
        return await self._read(lambda: self._order(request.order))

    @refusing
    async def ExplainDemand(self, request: pb.ExplainDemandRequest, context: Context) -> pb.ExplainDemandResponse:
        """Explain a demand's screening."""
        return await self._read(lambda: self._explanation(request.order))

    @refusing
    async def ListTerminals(self, request: pb.ListTerminalsRequest, context: Context) -> pb.ListTerminalsResponse:
        """List terminals and devices."""
        rows = await self._read(lambda: people.terminals(self._readers))
        return pb.ListTerminalsResponse(terminals=[self._terminal(row) for row in rows])

    @refusing
    async def ListAssets(self, request: pb.ListAssetsRequest, context: Context) -> pb.ListAssetsResponse:
        """List assets."""
        rows = await self._read(lambda: people.assets(self._readers, _page(request.page_size)))
        counts = await self._read(lambda: people.counts(self._readers))
        return pb.ListAssetsResponse(assets=[_asset(row) for row in rows], total=counts.assets)

    @refusing
    async def CheckLedger(self, request: pb.CheckLedgerRequest, context: Context) -> pb.CheckLedgerResponse:
        """Check the ledger's laws over its whole history."""
        found = await self._read(lambda: people.check_ledger(self._readers))
        return pb.CheckLedgerResponse(
            fault=found.fault,
            transfers=found.transfers,
            accounts=found.accounts,
            charge_records=found.charge_records,
            debits_minor=found.debits_minor,
            credits_minor=found.credits_minor,
            held_minor=found.held_minor,
            currency=self._currency,
        )

    @refusing
    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """Tell how the node is."""
        counts = await self._read(lambda: people.counts(self._readers))
        return pb.GetStatusResponse(
            version=__version__,
            running=self._facts.ready is not None,
            ready_time=_time(self._facts.ready) if self._facts.ready else None,
            streams=self._facts.streams(),
            orders=[pb.StateCount(state=state.name, count=n) for state, n in sorted(counts.orders.items())],
            assets=counts.assets,
            waiting_envelopes=counts.waiting_envelopes,
            parked=counts.parked,
            pending_grants=counts.pending_grants,
        )

    @refusing
    async def ListPendingGrants(self, request: pb.ListPendingGrantsRequest, context: Context) -> pb.ListPendingGrantsResponse:
        """List grants that wait for the platform root's signature."""
        rows = await self._read(lambda: people.pending_grants(self._readers))
        return pb.ListPendingGrantsResponse(grants=[pb.PendingGrant(grant_body=r.grant_body, name=r.name) for r in rows])

    @refusing
    async def SubmitGrant(self, request: pb.SubmitGrantRequest, context: Context) -> pb.SubmitGrantResponse:
        """Take a grant that the platform root has signed."""
        grant = open_grant(request.grant, self._root, _role_of(request.grant))
        await self._call(partial(commands.submit_grant, body=grant.body, signed=request.grant))
        return pb.SubmitGrantResponse()

    async def _read(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, read)

    def _order(self, text: str) -> pb.GetOrderResponse:
        order_id = self._readers.order_id(text)
        return pb.GetOrderResponse(
            order=_summary(people.order(self._readers, order_id)),
            timeline=[_timeline_entry(row) for row in people.timeline(self._readers, order_id)],
            money=[_money_row(row) for row in people.money(self._readers, order_id)],
            currency=self._currency,
        )

    def _explanation(self, text: str) -> pb.ExplainDemandResponse:
        order_id = self._readers.order_id(text)
        found = people.screening(self._readers, order_id)
        if found is None:
            raise Rejected(Reason.UNKNOWN_ORDER, order=text)
        return pb.ExplainDemandResponse(
            order_id=order_id,
            examined=found.examined,
            candidates=found.candidates,
            exclusions=[pb.ExclusionCount(reason=reason, count=count) for reason, count in found.exclusions],
            nearest=[
                pb.ExcludedAsset(station=station, name=name, reason=reason, distance_m=distance)
                for station, name, reason, distance in found.nearest
            ],
        )

    def _terminal(self, row: Any) -> pb.TerminalSummary:
        return pb.TerminalSummary(
            terminal_id=row.id,
            role=row.role,
            name=row.name,
            online=self._facts.is_online(row.id),
            certificate_not_after_time=_time(row.certificate_not_after),
            waiting_envelopes=row.waiting,
        )


def _time(instant: int) -> Timestamp:
    return Timestamp(seconds=instant // 1_000_000, nanos=instant % 1_000_000 * 1_000)


def _page(size: int) -> int:
    return min(size, PAGE_MAX) if size > 0 else PAGE


def _state(name: str) -> OrderState | None:
    if not name:
        return None
    try:
        return OrderState[name.upper()]
    except KeyError:
        raise Rejected(Reason.MALFORMED, field="state", problem=f"is one of {', '.join(OrderState.__members__)}") from None


def _role_of(grant: bytes) -> Role:
    return peek(GrantBody, grant).role


def _summary(row: Any) -> pb.OrderSummary:
    return pb.OrderSummary(
        order_id=row.id,
        state=OrderState(row.state).name,
        kind=Kind(row.kind).name if row.kind else row.kinds,
        user_name=row.user_name,
        provider_name=row.provider_name or "",
        asset_name=place_name(row.station, row.asset_name) if row.asset_name else "",
        created_time=_time(row.created),
        total_minor=row.total_minor,
        hold_minor=row.hold_minor,
    )


def _timeline_entry(row: Any) -> pb.TimelineEntry:
    state = OrderState(row.state).name
    return pb.TimelineEntry(entry_time=_time(row.at), actor=row.actor, event=row.event, state=state, note=row.note)


def _money_row(row: Any) -> pb.MoneyRow:
    return pb.MoneyRow(
        entry_time=_time(row.at),
        reason=row.reason,
        debit_account=row.debit,
        credit_account=row.credit,
        amount_minor=row.hold_minor if row.flag == "VOID_PENDING" else row.amount_minor,
        flag=row.flag,
    )


def _asset(row: Any) -> pb.AssetSummary:
    return pb.AssetSummary(
        provider_name=row.provider_name,
        station=row.station,
        name=row.name,
        kind=Kind(row.kind).name,
        state="UNKNOWN" if row.unknown else AssetState(row.state).name,
        held_by=row.held_by or b"",
        latitude_e7=row.latitude_e7,
        longitude_e7=row.longitude_e7,
    )
