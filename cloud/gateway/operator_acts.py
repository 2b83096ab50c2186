"""The operator's calls that write. Each leaves a line in the record of acts, in the transaction of its effect (cloud.acts)."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cloud import acts, commands
from cloud.acts import Act
from cloud.domain.inbound import EndReported, EndRequested, Refused, RulingMade, SerialClosedReported, StartReported
from cloud.domain.inbound import ReadingsReported as Readings
from cloud.gateway.desk import Context, Desk, operator_of
from cloud.gateway.operator_pages import asset_summary
from cloud.gateway.times import time_of
from cloud.store import backup, people, watch
from cloud.work import Inbound, Peer
from energyshare.bodies import GrantBody
from energyshare.credentials import open_grant
from energyshare.errors import Corrupt, Reason, Rejected
from energyshare.places import place_name
from energyshare.rpc_errors import refusing
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import (
    AccountId,
    AssetId,
    Minor,
    Money,
    OrderState,
    PublicKey,
    RequestId,
    TerminalId,
    id_text,
)
from energyshare.wire import peek

REASON_MAX = 500
SIGNED_BY_A_DEVICE = (StartReported, Readings, EndReported, EndRequested, SerialClosedReported)
"""What may be retried: facts, which stay true. The rest is the will of someone who was told that it failed."""


class OperatorActs(Desk):
    """What an operator does."""

    @refusing
    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:
        """Make a join token."""
        if len(request.request_id) != 16:
            raise Rejected(Reason.MALFORMED, field="request_id", problem="must be 16 bytes")
        given = (RequestId(request.request_id), self._cloud.secret, request.role, request.name)
        act = Act(operator_of(context), "token create", f"{request.role} {request.name}")
        token = await self._call(acts.recorded(lambda work, now: commands.create_token(work, *given, now), act))
        return pb.CreateTokenResponse(token=token.text, expiry_time=time_of(token.expiry))

    @refusing
    async def SubmitGrant(self, request: pb.SubmitGrantRequest, context: Context) -> pb.SubmitGrantResponse:
        """Take a grant that the platform root has signed."""
        grant = open_grant(request.grant, self._cloud.root, peek(GrantBody, request.grant).role)
        act = Act(operator_of(context), "grant sign", f"{grant.body.role.name.lower()} {id_text(grant.body.subject_id)}")
        await self._call(acts.recorded(partial(commands.submit_grant, body=grant.body, signed=request.grant), act))
        return pb.SubmitGrantResponse()

    @refusing
    async def ResolveDispute(self, request: pb.ResolveDisputeRequest, context: Context) -> pb.ResolveDisputeResponse:
        """Rule on a dispute."""
        if request.charge_minor < 0:
            raise Rejected(Reason.MALFORMED, field="charge_minor", problem="is 0 or more")
        reason = _reason(request.reason, least=1)
        order_id = await self._read(lambda: self._readers.order_id(request.order))
        charged = Money(self._cloud.currency, Minor(request.charge_minor))
        act = Act(operator_of(context), "dispute resolve", id_text(order_id), f"{charged}: {reason}")
        ruling = RulingMade(charged.amount_minor, reason)
        await self._instruct(order_id, ruling, also=partial(acts.record, act=act))
        row = await self._read(lambda: people.order(self._readers, order_id))
        return pb.ResolveDisputeResponse(
            order_id=order_id, state=OrderState(row.state).name, total_minor=row.total_minor, currency=self._cloud.currency
        )

    @refusing
    async def SuspendParty(self, request: pb.SuspendPartyRequest, context: Context) -> pb.SuspendPartyResponse:
        """Keep a party from new orders."""
        party, changed = await self._set_party(acts.suspend, "party suspend", request, context)
        return pb.SuspendPartyResponse(changed=changed, open_orders=party.open_orders)

    @refusing
    async def ResumeParty(self, request: pb.ResumePartyRequest, context: Context) -> pb.ResumePartyResponse:
        """Lift a party's suspension."""
        _, changed = await self._set_party(acts.resume, "party resume", request, context)
        return pb.ResumePartyResponse(changed=changed)

    @refusing
    async def RevokeTerminal(self, request: pb.RevokeTerminalRequest, context: Context) -> pb.RevokeTerminalResponse:
        """Revoke a terminal's identity; its stream ends when the node next looks at it, within seconds."""
        found = await self._read(lambda: watch.find_terminal(self._readers, request.terminal))
        subject = f"{found.role} {found.name} {id_text(found.id)}"
        act = Act(operator_of(context), "terminal revoke", subject, _reason(request.reason))
        changed = await self._call(partial(acts.revoke, terminal=TerminalId(found.id), act=act))
        self._facts.forget(found.id)
        summary = self._terminal(found, 0)
        summary.revoked = True
        return pb.RevokeTerminalResponse(terminal=summary, changed=changed)

    @refusing
    async def ResumeAsset(self, request: pb.ResumeAssetRequest, context: Context) -> pb.ResumeAssetResponse:
        """Lift an asset's suspension."""
        found = await self._read(lambda: watch.find_asset(self._readers, request.asset, request.provider_name))
        subject = f"{found.provider_name} {place_name(found.station, found.name)}"
        act = Act(operator_of(context), "asset resume", subject, _reason(request.reason))
        changed = await self._call(partial(acts.resume_asset, asset=AssetId(found.id), act=act))
        summary = asset_summary(found)
        summary.suspended = False
        return pb.ResumeAssetResponse(asset=summary, changed=changed)

    @refusing
    async def RetryParked(self, request: pb.RetryParkedRequest, context: Context) -> pb.RetryParkedResponse:
        """Have the order of a parked message take it after all, as if it came from its sender now."""
        row = await self._read(lambda: watch.parked_one(self._readers, request.parked_id))
        message = await self._read(lambda: self._reopened(row))
        order_id, taken = message.order_id, message.message
        assert order_id is not None
        assert isinstance(taken, SIGNED_BY_A_DEVICE)
        act = _parked_act(operator_of(context), "parked retry", row)
        done = partial(acts.forget_parked, parked_id=row.id, act=act)
        await self._instruct(order_id, taken, also=done, peer=message.peer)
        state = OrderState((await self._read(lambda: people.order(self._readers, order_id))).state)
        return pb.RetryParkedResponse(order_id=order_id, state=state.name)

    @refusing
    async def DropParked(self, request: pb.DropParkedRequest, context: Context) -> pb.DropParkedResponse:
        """Throw a parked message away."""
        row = await self._read(lambda: watch.parked_one(self._readers, request.parked_id))
        act = _parked_act(operator_of(context), "parked drop", row)
        await self._call(partial(acts.forget_parked, parked_id=row.id, act=act))
        return pb.DropParkedResponse()

    @refusing
    async def Backup(self, request: pb.BackupRequest, context: Context) -> pb.BackupResponse:
        """Copy the database beside everything else that goes on; recorded once the file is there."""
        target = Path(request.path)
        if not target.is_absolute():
            raise Rejected(Reason.MALFORMED, field="path", problem="must be absolute")
        operator = operator_of(context)
        try:
            made = await self._read(lambda: backup.back_up(self._cloud.database, target))
        except (OSError, Corrupt) as error:
            raise Rejected(Reason.BACKUP_FAILED, file=request.path, problem=_problem(error)) from None
        act = Act(operator, "backup", request.path[-acts.SUBJECT_MAX :], f"{made.bytes} bytes")
        await self._call(partial(acts.record, act=act))
        return pb.BackupResponse(bytes=made.bytes, orders=made.orders, transfers=made.transfers)

    async def _set_party(
        self,
        change: Callable[..., bool],
        name: str,
        request: pb.SuspendPartyRequest | pb.ResumePartyRequest,
        context: Context,
    ) -> tuple[watch.Party, bool]:
        party = await self._read(lambda: watch.party(self._readers, request.role, request.name))
        act = Act(operator_of(context), name, f"{request.role} {request.name}", _reason(request.reason))
        return party, await self._call(partial(change, account=AccountId(party.account_id), act=act))

    def _reopened(self, row: Any) -> Inbound:
        """Open a parked message as the gateway did, with its sender's key as it stands now.

        Raises: Rejected{PARKED_REFUSED} for what no device has signed, else as the checks refuse it.
        """
        sender = self._readers.terminal(TerminalId(row.terminal_id))
        if sender is None:
            raise Rejected(Reason.IDENTITY_UNKNOWN)
        peer = Peer(TerminalId(sender.id), sender.role, AccountId(sender.account_id), PublicKey(sender.public_key), sender.name)
        inbound = self._checks.open(peer, row.body)
        if isinstance(inbound.message, Refused):
            raise Rejected(inbound.message.reason, **inbound.message.metadata)
        if inbound.order_id is None or not isinstance(inbound.message, SIGNED_BY_A_DEVICE):
            raise Rejected(Reason.PARKED_REFUSED, message=type(inbound.message).__name__)
        return inbound

    def _can_retry(self, row: Any) -> bool:
        try:
            self._reopened(row)
        except Rejected:
            return False
        return True

    def _terminal(self, row: Any, waiting: int) -> pb.TerminalSummary:
        return pb.TerminalSummary(
            terminal_id=row.id,
            role=row.role,
            name=row.name,
            online=self._facts.is_online(row.id),
            certificate_not_after_time=time_of(row.certificate_not_after),
            waiting_envelopes=waiting,
            revoked=row.revoked,
        )


def _reason(text: str, least: int = 0) -> str:
    if not least <= len(text) <= REASON_MAX or not text.isprintable():
        raise Rejected(Reason.MALFORMED, field="reason", problem=f"has {least} to {REASON_MAX} printable characters")
    return text


def _parked_act(operator: str, name: str, row: Any) -> Act:
    order = f" of order {id_text(row.order_id)}" if row.order_id else ""
    return Act(operator, name, f"{row.id}{order}", f"{row.terminal_name} number {row.number}: {row.error}")


def _problem(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
