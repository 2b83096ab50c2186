"""The node's own certificate, renewed while it runs: streams that are open keep theirs, new ones get the new."""

from collections.abc import Callable, Sequence
from threading import Lock

import grpc

from certs.authority import SERVER_LIFETIME_S, Authority
from energyshare.values import Instant, later


class ServerCertificate:
    """Issues a certificate for the node's names, and another when half of its life is over.

    `fetch` runs in a gRPC thread at every handshake, so it gives a cached object as long as that is good.
    """

    def __init__(self, authority: Authority, names: Sequence[str], clock: Callable[[], Instant]) -> None:
        self._authority = authority
        self._names = tuple(names)
        self._clock = clock
        self._lock = Lock()
        self._renew_at = Instant(0)
        self._current = self.fetch()

    def credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        """Give what a port is opened with."""
        return grpc.dynamic_ssl_server_credentials(self.fetch(), self.fetch, require_client_authentication=mutual)

    def fetch(self) -> grpc.ServerCertificateConfiguration:
        """Give the certificate of now."""
        with self._lock:
            if self._clock() >= self._renew_at:
                now = self._clock()
                chain, key, _ = self._authority.issue_server(self._names, now)
                roots = self._authority.certificate_pem
                self._current = grpc.ssl_server_certificate_configuration([(key, chain)], roots)
                self._renew_at = later(now, SERVER_LIFETIME_S // 2)
            return self._current
