"""OperatorService: what the operator asks of a node, over a Unix socket in the node's home.

The same object answers when no node runs: then the command itself holds the home's lock (cloud.cli).
"""

from collections.abc import Sequence
from typing import Any

from cloud.gateway.desk import Context, page
from cloud.gateway.operator_acts import OperatorActs
from cloud.gateway.operator_ledger import OperatorLedger
from cloud.gateway.operator_pages import (
    act_row,
    alert_row,
    asset_summary,
    dispute_summary,
    order_page,
    order_summary,
    parked_summary,
    party_summary,
)
from cloud.gateway.operator_payments import OperatorPayments
from cloud.gateway.times import instant_of, time_of
from cloud.pump import system_now
from cloud.store import people, watch
from cloud.store.dossier import disputes, dossier
from energyshare import __version__
from energyshare.errors import Reason, Rejected
from energyshare.rpc_errors import refusing
from energyshare.v1 import operator_pb2 as pb
from energyshare.v1 import operator_pb2_grpc
from energyshare.values import DAY_S, OrderState, later

ALERTS_WITHIN_S = 7 * DAY_S  # of those, the status speaks


class Operators(OperatorActs, OperatorLedger, OperatorPayments, operator_pb2_grpc.OperatorServiceServicer):
    """The operator's commands: those that read are here, those that write in OperatorActs, the ledger and payments apart."""

    @refusing
    async def ListOrders(self, request: pb.ListOrdersRequest, context: Context) -> pb.ListOrdersResponse:
        """List orders, newest first."""
        rows = await self._read(lambda: self._orders(request))
        return pb.ListOrdersResponse(orders=[order_summary(row) for row in rows], currency=self._cloud.currency)

    @refusing
    async def GetOrder(self, request: pb.GetOrderRequest, context: Context) -> pb.GetOrderResponse:
        """Show an order with all that is kept of it."""
        answer = await self._read(lambda: self._order(request.order))
        for participant in answer.participants:
            participant.online = self._facts.is_online(participant.terminal_id)
        return answer

    @refusing
    async def ListDisputes(self, request: pb.ListDisputesRequest, context: Context) -> pb.ListDisputesResponse:
        """List disputes, the nearest to its fixed outcome first."""
        found = await self._read(lambda: disputes(self._readers, page(request.page_size)))
        return pb.ListDisputesResponse(disputes=[dispute_summary(one) for one in found], currency=self._cloud.currency)

    @refusing
    async def ExplainDemand(self, request: pb.ExplainDemandRequest, context: Context) -> pb.ExplainDemandResponse:
        """Explain a demand's screening."""
        return await self._read(lambda: self._explanation(request.order))

    @refusing
    async def ListParties(self, request: pb.ListPartiesRequest, context: Context) -> pb.ListPartiesResponse:
        """List users and providers."""
        found = await self._read(lambda: watch.parties(self._readers, request.role, page(request.page_size)))
        return pb.ListPartiesResponse(parties=[party_summary(one) for one in found], currency=self._cloud.currency)

    @refusing
    async def ListTerminals(self, request: pb.ListTerminalsRequest, context: Context) -> pb.ListTerminalsResponse:
        """List terminals and devices."""
        rows = await self._read(lambda: people.terminals(self._readers))
        return pb.ListTerminalsResponse(terminals=[self._terminal(row, row.waiting) for row in rows])

    @refusing
    async def ListAssets(self, request: pb.ListAssetsRequest, context: Context) -> pb.ListAssetsResponse:
        """List assets."""
        rows = await self._read(lambda: people.assets(self._readers, page(request.page_size)))
        counts = await self._read(lambda: people.counts(self._readers))
        return pb.ListAssetsResponse(assets=[asset_summary(row) for row in rows], total=counts.assets)

    @refusing
    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        """List what the operator should look at."""
        since = instant_of(request.since_time)
        rows = await self._read(lambda: watch.alerts(self._readers, since, page(request.page_size)))
        return pb.ListAlertsResponse(alerts=[alert_row(row) for row in rows])

    @refusing
    async def ListParked(self, request: pb.ListParkedRequest, context: Context) -> pb.ListParkedResponse:
        """List messages on which our own code failed."""
        rows = await self._read(lambda: watch.parked(self._readers, page(request.page_size)))
        return pb.ListParkedResponse(parked=[parked_summary(row) for row in rows])

    @refusing
    async def GetParked(self, request: pb.GetParkedRequest, context: Context) -> pb.GetParkedResponse:
        """Show a parked message."""
        row = await self._read(lambda: watch.parked_one(self._readers, request.parked_id))
        summary = parked_summary(row)
        return pb.GetParkedResponse(parked=summary, envelope=row.body, can_retry=self._can_retry(row))

    @refusing
    async def ListActs(self, request: pb.ListActsRequest, context: Context) -> pb.ListActsResponse:
        """List what operators did."""
        since = instant_of(request.since_time)
        rows = await self._read(lambda: watch.acts(self._readers, since, page(request.page_size)))
        return pb.ListActsResponse(acts=[act_row(row) for row in rows])

    @refusing
    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """Tell how the node is."""
        counts = await self._read(lambda: people.counts(self._readers, later(system_now(), -ALERTS_WITHIN_S)))
        return pb.GetStatusResponse(
            version=__version__,
            running=self._facts.ready is not None,
            ready_time=time_of(self._facts.ready) if self._facts.ready else None,
            streams=self._facts.streams(),
            orders=[pb.StateCount(state=state.name, count=n) for state, n in sorted(counts.orders.items())],
            assets=counts.assets,
            waiting_envelopes=counts.waiting_envelopes,
            parked=counts.parked,
            pending_grants=counts.pending_grants,
            disputes=counts.orders.get(OrderState.DISPUTED, 0),
            alerts=counts.alerts,
            suspended_parties=counts.suspended_parties,
            suspended_assets=counts.suspended_assets,
        )

    @refusing
    async def ListPendingGrants(self, request: pb.ListPendingGrantsRequest, context: Context) -> pb.ListPendingGrantsResponse:
        """List grants that wait for the platform root's signature."""
        rows = await self._read(lambda: people.pending_grants(self._readers))
        return pb.ListPendingGrantsResponse(grants=[pb.PendingGrant(grant_body=r.grant_body, name=r.name) for r in rows])

    def _orders(self, request: pb.ListOrdersRequest) -> Sequence[Any]:
        wanted = people.Wanted(_state(request.state), request.user_name, request.provider_name)
        if request.user_name:
            watch.party(self._readers, "user", request.user_name)
        if request.provider_name:
            watch.party(self._readers, "provider", request.provider_name)
        return people.orders(self._readers, wanted, page(request.page_size))

    def _order(self, text: str) -> pb.GetOrderResponse:
        return order_page(dossier(self._readers, self._readers.order_id(text)), self._cloud.currency)

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


def _state(name: str) -> OrderState | None:
    if not name:
        return None
    try:
        return OrderState[name.upper()]
    except KeyError:
        raise Rejected(Reason.MALFORMED, field="state", problem=f"is one of {', '.join(OrderState.__members__)}") from None
