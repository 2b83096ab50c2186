"""Who calls: from the certificate of the connection, checked against its current state at every message.

Identity never comes from a message. A resumed TLS session is refused, since resumption skips the check of the certificate;
expiry, serial and revocation are looked at whenever a message comes and by a timer, so that no open stream outlives them.
"""

from threading import Lock
from typing import Any

import grpc
from msgspec import Struct

from certs.certificates import CertificateInfo, read_certificate
from cloud.store.readers import Readers
from cloud.work import Peer
from energyshare.errors import Reason, Rejected
from energyshare.values import AccountId, Instant, PublicKey, TerminalId


class Authenticated(Struct, frozen=True):
    """A caller, with what its certificate says."""

    peer: Peer
    serial: str
    not_after: Instant


class Directory:
    """The terminals as they stand now; a change is known to this node at once through `forget`."""

    def __init__(self, readers: Readers, trust_domain: str) -> None:
        self._readers = readers
        self._trust_domain = trust_domain
        self._known: dict[TerminalId, Any] = {}
        self._lock = Lock()

    def authenticate(self, context: grpc.aio.ServicerContext[Any, Any], now: Instant) -> Authenticated:
        """Name the caller of a connection.

        Raises: Rejected with IDENTITY_UNKNOWN, IDENTITY_EXPIRED or IDENTITY_REVOKED.
        """
        certificate = _certificate_of(context)
        if certificate.spiffe.trust_domain != self._trust_domain:
            raise Rejected(Reason.IDENTITY_UNKNOWN)
        terminal = TerminalId(certificate.spiffe.subject_id)
        row = self._row(terminal)
        if row is None or row.role != certificate.spiffe.role or row.role not in ("user", "provider"):
            raise Rejected(Reason.IDENTITY_UNKNOWN)
        peer = Peer(terminal, row.role, AccountId(row.account_id), PublicKey(row.public_key), row.name)
        caller = Authenticated(peer, certificate.serial, certificate.not_after)
        self.require_current(caller, now)
        return caller

    def require_current(self, caller: Authenticated, now: Instant) -> None:
        """Raise Rejected unless a caller's certificate is still the one that stands."""
        row = self._row(caller.peer.terminal)
        if row is None:
            raise Rejected(Reason.IDENTITY_UNKNOWN)
        if row.revoked:
            raise Rejected(Reason.IDENTITY_REVOKED)
        if now > caller.not_after or row.certificate_serial != caller.serial:
            raise Rejected(Reason.IDENTITY_EXPIRED)

    def forget(self, terminal: TerminalId) -> None:
        """Look a terminal up anew next time."""
        with self._lock:
            self._known.pop(terminal, None)

    def _row(self, terminal: TerminalId) -> Any | None:
        row = self._known.get(terminal)
        if row is None:
            row = self._readers.terminal(terminal)
            if row is not None:
                with self._lock:
                    self._known[terminal] = row
        return row


def _certificate_of(context: grpc.aio.ServicerContext[Any, Any]) -> CertificateInfo:
    auth = {key: list(values) for key, values in context.auth_context().items()}
    if auth.get("ssl_session_reused", [b"false"]) != [b"false"] or not auth.get("x509_pem_cert"):
        raise Rejected(Reason.IDENTITY_UNKNOWN)
    return read_certificate(auth["x509_pem_cert"][0])
