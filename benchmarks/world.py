"""Who takes part in the order benchmark: a cloud's home, users, one provider, and an outlet for each user.

Enrollment is limited to ten a second, so the parties are written into the new database before the cloud starts; their
certificates and grants are signed by the keys of its home, and their money comes in by the cloud's own command. Each outlet
stands in cells of its own, 20 km from the next, so that a demand within 1 km has exactly one candidate.
"""

import json
import os
from pathlib import Path

import msgspec
from sqlalchemy import insert

from certs.requests import new_key_and_request
from cloud import paying
from cloud.config import CloudHome
from cloud.domain.funds import Outcome
from cloud.items import Command
from cloud.processor import Processor
from cloud.store import tables
from cloud.store.database import open_writer
from cloud.work import WorkingSet
from energyshare.bodies import GrantBody
from energyshare.signing import SigningKey
from energyshare.values import (
    AccountId,
    Currency,
    Instant,
    Minor,
    Money,
    Place,
    ProviderId,
    RequestId,
    Role,
    SubjectId,
    UnixS,
    unix_s,
)
from energyshare.wire import seal

CURRENCY = Currency("CNY")
FUNDS_MINOR = Minor(10**9)
GRANT_LIFETIME_S = 30 * 86_400
GRID = 16  # outlets a row
STEP_E7 = 2_000_000  # 0.2 degrees
COMPONENTS = [
    {"type": "FLAT", "price": 1.00, "vat": 6.0, "step_size": 1},
    {"type": "ENERGY", "price": 1.20, "vat": 13.0, "step_size": 1},
    {"type": "PARKING_TIME", "price": 6.00, "vat": 6.0, "step_size": 60},
]
TARIFF = json.dumps({"currency": CURRENCY, "elements": [{"price_components": COMPONENTS}]}).encode()


class Party(msgspec.Struct, frozen=True):
    """A terminal or device; a device has no TLS identity, a user no grant."""

    subject_id: bytes
    seed: bytes
    grant: bytes = b""
    certificate: bytes = b""
    tls_key: bytes = b""


class World(msgspec.Struct, frozen=True):
    """Everyone, and whom their TLS trusts; outlets are in the order of the users that they are for."""

    ca: bytes
    provider: Party
    users: list[Party]
    outlets: list[Party]


def place_of(outlet: int) -> Place:
    """Give where an outlet stands."""
    row, column = divmod(outlet, GRID)
    return Place(200_000_000 + row * STEP_E7, 1_100_000_000 + column * STEP_E7)


def read_world(path: Path) -> World:
    """Read what a world was written to."""
    return msgspec.json.decode(path.read_bytes(), type=World)


def write_world(world: World, path: Path) -> None:
    """Write a world for another process."""
    path.write_bytes(msgspec.json.encode(world))


def make_world(home: Path, users: int, now: Instant) -> World:
    """Make a cloud's home with everyone in its database, ready to be served."""
    cloud = CloudHome(home)
    cloud.init(("127.0.0.1",), CURRENCY, now)
    engine = open_writer(cloud.database)
    try:
        founder = _Founder(cloud, Processor(engine, cloud.platform(), cloud.config().settings()), now)
        return founder.world(users)
    finally:
        engine.dispose()


class _Founder:
    """Makes and registers everyone; all of it happens at `now`."""

    def __init__(self, cloud: CloudHome, processor: Processor, now: Instant) -> None:
        self._processor = processor
        self._now = now
        self._authority = cloud.authority()
        self._root = SigningKey.load(cloud.path / "root.key")

    def world(self, users: int) -> World:
        provider = self._enrolled("provider", "provider")
        holders = [self._enrolled("user", f"user-{number}") for number in range(users)]
        outlets = [self._outlet(provider) for _ in range(users)]
        return World(self._authority.certificate_pem, provider, holders, outlets)

    def _enrolled(self, role: str, name: str) -> Party:
        """Make a terminal with a wallet that lasts, and register it."""
        subject, seed = os.urandom(16), os.urandom(32)
        key = SigningKey(seed)
        tls_key, request = new_key_and_request()
        issued = self._authority.issue_terminal(request, role, subject, self._now)
        row = {
            "id": subject,
            "role": role,
            "account_id": subject,
            "name": name,
            "public_key": key.public,
            "certificate": issued.pem,
            "certificate_serial": issued.serial,
            "certificate_not_after": issued.not_after,
            "revoked": False,
            "last_in": 0,
            "last_in_hash": b"",
            "last_out": 0,
            "created": self._now,
        }
        self._processor.process([Command(lambda work, now: _register(work, row, now), _require_done)], self._now)
        grant = self._grant(subject, Role.ISSUER, key, None) if role == "provider" else b""
        return Party(subject, seed, grant, issued.pem, tls_key)

    def _outlet(self, owner: Party) -> Party:
        subject, seed = os.urandom(16), os.urandom(32)
        return Party(subject, seed, self._grant(subject, Role.DEVICE, SigningKey(seed), ProviderId(owner.subject_id)))

    def _grant(self, subject: bytes, role: Role, key: SigningKey, owner: ProviderId | None) -> bytes:
        start = UnixS(unix_s(self._now) - 600)
        return seal(
            GrantBody(SubjectId(subject), role, key.public, start, UnixS(start + GRANT_LIFETIME_S), owner), self._root
        ).signed


def _register(work: WorkingSet, row: dict[str, object], now: Instant) -> None:
    account = AccountId(bytes(row["account_id"]))  # type: ignore[call-overload]
    work.unit.execute(insert(tables.accounts).values(id=account, role=row["role"], name=row["name"]))
    work.unit.execute(insert(tables.terminals).values(**row))
    if row["role"] == "user":
        paid = Money(CURRENCY, FUNDS_MINOR)
        begun = paying.begin_top_up(work, now, account=account, request=RequestId(os.urandom(16)), paid=paid, gateway="sandbox")
        paying.conclude(work, now, name=begun.id, outcome=Outcome.SUCCEEDED)


def _require_done(answer: object) -> None:
    assert answer is None, answer
