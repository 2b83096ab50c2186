"""The operator's calls about the ledger: its check, checkpoints, statements, and commissions."""

from functools import partial

from cloud import acts
from cloud.acts import Act
from cloud.gateway.desk import Context, Desk, operator_of
from cloud.gateway.statements import period_of, statement_page
from cloud.pump import system_now
from cloud.sealing import open_checkpoint
from cloud.store import people, watch
from cloud.store.chain import state_heads
from cloud.store.statements import commissions
from energyshare.errors import Reason, Rejected
from energyshare.rpc_errors import refusing
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import AccountId, Kind
from energyshare.wire import encode

BP_MAX = 10_000
CHECKPOINTS_MAX = 1_000
REASON_MAX = 500


class OperatorLedger(Desk):
    """What an operator asks and sets about money."""

    @refusing
    async def CheckLedger(self, request: pb.CheckLedgerRequest, context: Context) -> pb.CheckLedgerResponse:
        """Check that no row was touched, and the ledger's laws, over its whole history."""
        if len(request.checkpoints) > CHECKPOINTS_MAX:
            raise Rejected(Reason.MALFORMED, field="checkpoints", problem=f"are at most {CHECKPOINTS_MAX}")
        checkpoints = [open_checkpoint(data, self._cloud.root) for data in request.checkpoints]
        found = await self._read(lambda: people.check_ledger(self._readers, checkpoints))
        return pb.CheckLedgerResponse(
            fault=found.fault,
            transfers=found.transfers,
            accounts=found.accounts,
            charge_records=found.charge_records,
            debits_minor=found.debits_minor,
            credits_minor=found.credits_minor,
            held_minor=found.held_minor,
            currency=self._cloud.currency,
            batches=found.batches,
        )

    @refusing
    async def StateHeads(self, request: pb.StateHeadsRequest, context: Context) -> pb.StateHeadsResponse:
        """State what a checkpoint is to say."""
        body = await self._read(lambda: state_heads(self._readers, system_now()))
        return pb.StateHeadsResponse(checkpoint_body=encode(body))

    @refusing
    async def GetPartyStatement(self, request: pb.GetPartyStatementRequest, context: Context) -> pb.GetPartyStatementResponse:
        """Give what moved on a party's account within a period."""
        period = period_of(request)
        party = await self._read(lambda: watch.party(self._readers, request.role, request.name))
        whose = (party.role, AccountId(party.account_id))
        settings = await self._call(lambda work, now: work.settings)
        found = await self._read(lambda: statement_page(self._readers, *whose, *period, system_now(), settings))
        return pb.GetPartyStatementResponse(statement=found)

    @refusing
    async def ListCommissions(self, request: pb.ListCommissionsRequest, context: Context) -> pb.ListCommissionsResponse:
        """List the providers whose commission differs from the cloud's."""
        rows = await self._read(lambda: commissions(self._readers))
        default_bp = await self._call(lambda work, now: work.settings.commission_bp)
        listed = [
            pb.CommissionRow(provider_name=row.name, kind=Kind(row.kind).name, commission_bp=row.commission_bp) for row in rows
        ]
        return pb.ListCommissionsResponse(commissions=listed, default_bp=default_bp)

    @refusing
    async def SetCommission(self, request: pb.SetCommissionRequest, context: Context) -> pb.SetCommissionResponse:
        """Set a provider's commission for one kind."""
        kind, wanted = _kind(request.kind), _bp(request)
        party = await self._read(lambda: watch.party(self._readers, "provider", request.provider_name))
        if len(request.reason) > REASON_MAX or not request.reason.isprintable():
            raise Rejected(Reason.MALFORMED, field="reason", problem=f"has up to {REASON_MAX} printable characters")
        rate = "as the cloud's" if wanted is None else f"{wanted} bp"
        note = f"{rate}: {request.reason}" if request.reason else rate
        act = Act(operator_of(context), "commission set", f"{kind.name} {request.provider_name}", note)
        given = partial(acts.set_commission, provider=AccountId(party.account_id), kind=kind, commission_bp=wanted, act=act)
        changed, now_bp = await self._call(given)
        return pb.SetCommissionResponse(changed=changed, commission_bp=now_bp)


def _kind(name: str) -> Kind:
    try:
        return Kind[name.upper()]
    except KeyError:
        raise Rejected(Reason.MALFORMED, field="kind", problem=f"is one of {', '.join(Kind.__members__)}") from None


def _bp(request: pb.SetCommissionRequest) -> int | None:
    if not request.HasField("commission_bp"):
        return None
    if not 0 <= request.commission_bp <= BP_MAX:
        raise Rejected(Reason.MALFORMED, field="commission_bp", problem=f"is 0 to {BP_MAX}")
    return request.commission_bp
