"""EnrollmentService: identities for join tokens, on a port of its own over server-authenticated TLS."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from certs.authority import Authority, IssuedCertificate
from cloud import commands
from cloud.gateway.identity import Directory
from cloud.pump import Pump, system_now
from cloud.sealing import PlatformKey
from energyshare.bodies import EnrollmentProofBody
from energyshare.errors import Reason, Rejected
from energyshare.rpc_errors import refusing
from energyshare.v1 import enrollment_pb2 as pb
from energyshare.v1 import enrollment_pb2_grpc
from energyshare.values import Currency, Digest, PublicKey, TerminalId
from energyshare.wire import open_signed

PROOF_SLACK_S = 3_600
BURST, PER_S = 40, 10.0


class Bucket:
    """A token bucket over all callers of the port, which anyone can reach."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst, self._per_s = float(burst), per_s
        self._level, self._at = self._burst, time.monotonic()

    def take(self) -> None:
        """Take one; raises Rejected{RATE_LIMITED} when it is empty."""
        now = time.monotonic()
        self._level = min(self._burst, self._level + (now - self._at) * self._per_s)
        self._at = now
        if self._level < 1:
            raise Rejected(Reason.RATE_LIMITED)
        self._level -= 1


class Enrollments(enrollment_pb2_grpc.EnrollmentServiceServicer):
    """Binds tokens to keys and issues certificates."""

    def __init__(
        self,
        authority: Authority,
        pump: Pump,
        directory: Directory,
        platform: PlatformKey,
        root: PublicKey,
        currency: Currency,
        stream_addresses: tuple[str, ...],
        sign_grants: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._authority = authority
        self._pump = pump
        self._directory = directory
        self._platform = platform
        self._root = root
        self._currency = currency
        self._stream_addresses = stream_addresses
        self._sign_grants = sign_grants
        self._bucket = Bucket(BURST, PER_S)

    @refusing
    async def Enroll(self, request: pb.EnrollRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.EnrollResponse:
        """Turn a join token into an identity."""
        self._bucket.take()
        key = PublicKey(_key(request.public_key))
        _require_proof(request.proof, key, request.certificate_request, commands.token_hash(request.token))
        given = (request.token, request.role, key, request.provider_name)
        who = await self._pump.call(lambda work, now: commands.enrollee(work, *given, now))
        issued = self._issue(request.certificate_request, who.role, who.subject_id)
        enrollment = commands.Enrollment(*given, issued.pem, issued.serial, issued.not_after)
        answer = await self._pump.call(lambda work, now: commands.enroll(work, enrollment, now))
        return self._response(await self._granted(answer))

    @refusing
    async def Renew(self, request: pb.RenewRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.RenewResponse:
        """Renew the certificate of an identity that proves its registered key."""
        self._bucket.take()
        if len(request.subject_id) != 16:
            raise Rejected(Reason.IDENTITY_UNKNOWN)
        terminal = TerminalId(request.subject_id)
        who = await self._pump.call(lambda work, now: commands.registered(work, terminal))
        key = PublicKey(who.public_key)
        proof = _require_proof(request.proof, key, request.certificate_request, None)
        if abs(proof.proof_time - system_now()) > PROOF_SLACK_S * 1_000_000:
            raise Rejected(Reason.PROOF_INVALID, problem="its time is more than an hour off")
        issued = self._issue(request.certificate_request, who.role, who.subject_id)
        renewed = (terminal, key, issued.pem, issued.serial, issued.not_after)
        answer = await self._pump.call(lambda work, now: commands.renew(work, *renewed))
        self._directory.forget(terminal)
        return pb.RenewResponse(identity=self._response(await self._granted(answer)))

    async def _granted(self, who: commands.Enrolled) -> commands.Enrolled:
        """Sign waiting grants first, where the platform root's key is at hand."""
        if self._sign_grants is None or who.grant is not None or who.role == "user":
            return who
        await self._sign_grants()
        return await self._pump.call(lambda work, now: commands.registered(work, TerminalId(who.subject_id)))  # type: ignore[no-any-return]

    def _issue(self, request: bytes, role: str, subject_id: bytes) -> IssuedCertificate:
        return self._authority.issue_terminal(request, role, subject_id, system_now())

    def _response(self, who: commands.Enrolled) -> pb.EnrollResponse:
        return pb.EnrollResponse(
            role=who.role,
            subject_id=who.subject_id,
            owner_id=who.owner_id,
            name=who.name,
            certificate=who.certificate,
            trust_bundle=self._authority.certificate_pem,
            stream_addresses=self._stream_addresses,
            platform_root_key=self._root,
            platform_grant=self._platform.grant,
            grant=who.grant or b"",
            currency=self._currency,
        )


def _key(key: bytes) -> bytes:
    if len(key) != 32:
        raise Rejected(Reason.MALFORMED, field="public_key", problem="must be 32 bytes")
    return key


def _require_proof(proof: bytes, key: PublicKey, request: bytes, token_hash: Digest | None) -> EnrollmentProofBody:
    try:
        body = open_signed(EnrollmentProofBody, proof, key).body
    except Rejected as refusal:
        raise Rejected(Reason.PROOF_INVALID, problem=refusal.reason) from None
    if (body.certificate_request, body.token_hash) != (request, token_hash):
        raise Rejected(Reason.PROOF_INVALID, problem="it is about another request")
    return body
