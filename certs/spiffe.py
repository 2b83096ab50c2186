"""SPIFFE ids: for whom a TLS certificate speaks.

A terminal's id is `spiffe://<trust domain>/<role>/<uuid>`, its uuid in lower case; every node of a cloud shares
`spiffe://<trust domain>/cloud/node`, which is no subject and so does not parse here. One spelling an id: what parses is
written the same again.

Source: SPIFFE-ID, sections 2.1 and 2.2.
"""

import re
from typing import Final

from msgspec import Struct

from energyshare.errors import Reason, Rejected
from energyshare.values import id_text

ROLES: Final = ("user", "provider", "device", "cloud")

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_HEX = "[0-9a-f]"
_UUID = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_SPIFFE_ID = re.compile(f"spiffe://({_TRUST_DOMAIN.pattern})/({'|'.join(ROLES)})/({_UUID})")


class SpiffeId(Struct, frozen=True):
    """A subject in one role; `subject_id` is 16 bytes."""

    trust_domain: str
    role: str
    subject_id: bytes

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/{self.role}/{id_text(self.subject_id)}"


def parse_spiffe(uri: str) -> SpiffeId:
    """Read a subject's id; raises Rejected{IDENTITY_UNKNOWN} unless it is spelt exactly so."""
    match = _SPIFFE_ID.fullmatch(uri)
    if match is None:
        raise Rejected(Reason.IDENTITY_UNKNOWN)
    trust_domain, role, uuid = match.groups()
    return SpiffeId(trust_domain, role, bytes.fromhex(uuid.replace("-", "")))


def node_uri(trust_domain: str) -> str:
    """Give the id that all nodes of a cloud share."""
    return f"spiffe://{trust_domain}/cloud/node"


def domain_uri(trust_domain: str) -> str:
    """Give the id of a trust domain itself; raises Rejected{MALFORMED} when it is none."""
    if _TRUST_DOMAIN.fullmatch(trust_domain) is None:
        raise Rejected(Reason.MALFORMED, field="trust_domain", problem="must be 1 to 255 of a-z, 0-9, dot, dash and underscore")
    return f"spiffe://{trust_domain}"
