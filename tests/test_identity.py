"""Homes and identities: enrollment against a real server, what a terminal refuses, and mutual TLS with what it got."""

import asyncio
import dataclasses
import json
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc.aio
import pytest

from certs.authority import Authority
from certs.certificates import certifies, read_certificate
from certs.requests import new_key_and_request
from energyshare.bodies import EnrollmentProofBody, GrantBody
from energyshare.errors import Corrupt, Reason, Rejected, Unavailable
from energyshare.home import WrongHome, lock_home, open_home, write_atomically
from energyshare.signing import Label, SigningKey, digest
from energyshare.v1.enrollment_pb2 import EnrollRequest, EnrollResponse, RenewRequest, RenewResponse
from energyshare.v1.enrollment_pb2_grpc import EnrollmentServiceServicer, add_EnrollmentServiceServicer_to_server
from energyshare.values import DAY_S, Instant, ProviderId, PublicKey, Role, SubjectId, UnixS, later
from energyshare.wire import open_signed, seal
from terminals.identity import Identity, channel_credentials, enroll, load_identity, needs_renewal, renew

ISSUED = Instant(1_767_225_600_000_000)  # 2026-01-01; TLS itself looks at the machine's clock
NOW = Instant(1_795_341_600_000_000)  # 2026-11-22 10:00
LONG_S = 9 * 365 * DAY_S
SUBJECT, OWNER, STRANGER = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))
AUTHORITY = Authority.create("share.example", ISSUED)
FOREIGN = Authority.create("share.example", ISSUED)
ROOT, PLATFORM = SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)
OTHER_KEY = SigningKey(bytes([2]) * 32).public
REPOSITORY = Path(__file__).parent.parent

Alter = Callable[[EnrollResponse], None]
LOCAL: Sequence[tuple[str, Any]] = (("grpc.so_reuseport", 0),)


def clock() -> Instant:
    return NOW


def grant(subject: bytes, role: Role, key: PublicKey, owner: bytes | None = None, root: SigningKey = ROOT) -> bytes:
    owner_id = ProviderId(owner) if owner else None
    return seal(GrantBody(SubjectId(subject), role, key, UnixS(1), UnixS(2**40), owner_id), root).signed


def unchanged(answer: EnrollResponse) -> None:
    """Leave the answer as it is."""


@dataclass
class FakeCloud(EnrollmentServiceServicer):
    """Gives identities of one role to whoever has the token, and binds it to the first key."""

    role: str = "user"
    alter: Alter = unchanged
    lifetime_s: int = LONG_S
    silent: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    keys: list[PublicKey] = field(default_factory=list)
    requests: list[EnrollRequest] = field(default_factory=list)
    proofs: list[EnrollmentProofBody] = field(default_factory=list)

    async def Enroll(self, request: EnrollRequest, context: object) -> EnrollResponse:  # noqa: N802
        key = PublicKey(request.public_key)
        self.requests.append(request)
        self.keys.append(key)
        self.proofs.append(open_signed(EnrollmentProofBody, request.proof, key).body)
        self.reached.set()
        if self.silent:
            await asyncio.Event().wait()
        return self.answer(request.certificate_request, key)

    async def Renew(self, request: RenewRequest, context: object) -> RenewResponse:  # noqa: N802
        self.proofs.append(open_signed(EnrollmentProofBody, request.proof, self.keys[-1]).body)
        assert request.subject_id == SUBJECT
        return RenewResponse(identity=self.answer(request.certificate_request, self.keys[-1]))

    def answer(self, csr: bytes, key: PublicKey) -> EnrollResponse:
        grants = {"provider": grant(OWNER, Role.ISSUER, key), "device": grant(SUBJECT, Role.DEVICE, key, OWNER)}
        answer = EnrollResponse(
            role=self.role,
            subject_id=SUBJECT,
            owner_id=OWNER,
            name="ana",
            certificate=AUTHORITY.issue_terminal(csr, self.role, SUBJECT, ISSUED, self.lifetime_s).pem,
            trust_bundle=AUTHORITY.certificate_pem,
            stream_addresses=["cloud.example:7400", "cloud.example:7401"],
            platform_root_key=ROOT.public,
            platform_grant=grant(STRANGER, Role.PLATFORM, PLATFORM.public),
            grant=grants.get(self.role, b""),
            currency="CNY",
        )
        self.alter(answer)
        return answer


@asynccontextmanager
async def serving(cloud: FakeCloud, authority: Authority = AUTHORITY) -> AsyncIterator[str]:
    """Serve enrollment by TLS, as the operator would; gives the address."""
    chain, key, _ = authority.issue_server(["127.0.0.1"], ISSUED, LONG_S)
    server = grpc.aio.server(options=LOCAL)
    add_EnrollmentServiceServicer_to_server(cloud, server)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(AUTHORITY.certificate_pem)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def enrolled(cloud: FakeCloud, home: Path, ca: Path, authority: Authority = AUTHORITY) -> Identity:
    async def story() -> Identity:
        async with serving(cloud, authority) as address:
            return await enroll(home, cloud.role, address, ca, "token-1\n", clock=clock)

    return asyncio.run(story())


# Enrollment


@pytest.mark.parametrize("role", ["user", "provider", "device"])
def test_a_terminal_gets_an_identity_for_its_token_and_finds_it_again(role: str, home: Path, ca: Path) -> None:
    identity = enrolled(FakeCloud(role), home, ca)
    assert (identity.role, identity.subject_id, identity.owner_id, identity.name) == (role, SUBJECT, OWNER, "ana")
    assert (identity.root_key, identity.currency) == (ROOT.public, "CNY")
    assert identity.stream_addresses == ("cloud.example:7400", "cloud.example:7401")
    assert (identity.grant is None) == (role == "user")
    assert certifies(identity.certificate, identity.tls_key)
    loaded = load_identity(home, role)
    assert loaded.key.public == identity.key.public
    assert dataclasses.replace(loaded, key=identity.key) == identity


def test_the_request_proves_the_key_over_the_tokens_hash_and_the_certificate_request(home: Path, ca: Path) -> None:
    cloud = FakeCloud()
    identity = enrolled(cloud, home, ca)
    (request,), (proof,) = cloud.requests, cloud.proofs
    assert (request.token, request.public_key) == ("token-1", identity.key.public)
    assert proof == EnrollmentProofBody(digest(Label.JOIN_TOKEN, b"token-1"), request.certificate_request, NOW)


def test_a_device_names_its_provider(home: Path, ca: Path) -> None:
    cloud = FakeCloud("device")

    async def story() -> None:
        async with serving(cloud) as address:
            await enroll(home, "device", address, ca, "token-1", "Ana's batteries", clock=clock)

    asyncio.run(story())
    assert cloud.requests[0].provider_name == "Ana's batteries"


def test_all_that_a_home_holds_is_for_its_owner_only(home: Path, ca: Path) -> None:
    with lock_home(home):
        enrolled(FakeCloud("provider"), home, ca)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
    assert set(modes) == {"lock", "role.txt", "key", "tls.key", "cert.pem", "trust.pem", "identity.json"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_no_private_key_shows_in_the_identitys_text_or_record(home: Path, ca: Path) -> None:
    identity = enrolled(FakeCloud(), home, ca)
    secret = (home / "key").read_text().strip()
    assert secret not in (home / "identity.json").read_text()
    assert "PRIVATE KEY" not in repr(identity)


def test_an_enrollment_whose_answer_is_lost_is_repeated_with_the_same_keys(home: Path, ca: Path) -> None:
    cloud = FakeCloud(silent=True)

    async def story() -> Identity:
        async with serving(cloud) as address:
            lost = asyncio.create_task(enroll(home, "user", address, ca, "token-1", clock=clock))
            await cloud.reached.wait()
            lost.cancel()
            await asyncio.gather(lost, return_exceptions=True)
            with pytest.raises(WrongHome, match="not enrolled"):
                load_identity(home, "user")
            cloud.silent = False
            return await enroll(home, "user", address, ca, "token-1", clock=clock)

    identity = asyncio.run(story())
    assert cloud.keys == [identity.key.public] * 2
    assert load_identity(home, "user").key.public == identity.key.public


def test_enrolling_again_fetches_a_grant_that_came_later_and_needs_no_token(home: Path, ca: Path) -> None:
    def ungranted(answer: EnrollResponse) -> None:
        answer.grant = b""

    cloud = FakeCloud("provider", ungranted)

    async def story() -> tuple[Identity, Identity]:
        async with serving(cloud) as address:
            first = await enroll(home, "provider", address, ca, "token-1", clock=clock)
            cloud.alter = unchanged
            return first, await enroll(home, "provider", address, ca, "", clock=clock)

    first, second = asyncio.run(story())
    assert first.grant is None
    assert second.grant is not None
    assert load_identity(home, "provider").grant == second.grant
    assert len(cloud.requests) == 1


def test_enrolling_at_another_cloud_leaves_the_home_as_it_was(home: Path, ca: Path) -> None:
    cloud = FakeCloud()

    def other_root(answer: EnrollResponse) -> None:
        answer.platform_root_key = PLATFORM.public
        answer.platform_grant = grant(STRANGER, Role.PLATFORM, OTHER_KEY, root=PLATFORM)

    async def story() -> None:
        async with serving(cloud) as address:
            await enroll(home, "user", address, ca, "token-1", clock=clock)
            cloud.alter = other_root
            with pytest.raises(WrongHome, match="does not know it") as refusal:
                await enroll(home, "user", address, ca, "token-2", clock=clock)
            assert "--home" in refusal.value.hint

    asyncio.run(story())
    assert load_identity(home, "user").root_key == ROOT.public


def other_certificate(answer: EnrollResponse) -> None:
    answer.certificate = AUTHORITY.issue_terminal(new_key_and_request()[1], "user", SUBJECT, ISSUED).pem


def altered(**fields: object) -> Alter:
    def alter(answer: EnrollResponse) -> None:
        answer.MergeFrom(EnrollResponse(**fields))  # type: ignore[arg-type]

    return alter


def granted(subject: bytes, role: Role, owner: bytes | None = None, *, own_key: bool = True) -> Alter:
    def alter(answer: EnrollResponse) -> None:
        held = _held_key(answer) if own_key else OTHER_KEY
        answer.grant = grant(subject, role, held, owner)

    return alter


def _held_key(answer: EnrollResponse) -> PublicKey:
    return open_signed(GrantBody, answer.grant, ROOT.public).body.public_key


@pytest.mark.parametrize(
    ("role", "alter", "reason"),
    [
        ("user", altered(platform_grant=grant(STRANGER, Role.PLATFORM, OTHER_KEY, root=PLATFORM)), Reason.GRANT_INVALID),
        ("user", altered(platform_grant=grant(STRANGER, Role.ISSUER, OTHER_KEY)), Reason.GRANT_ROLE),
        ("user", altered(platform_grant=b"no grant"), Reason.MALFORMED),
        ("user", altered(grant=grant(OWNER, Role.ISSUER, OTHER_KEY)), Reason.GRANT_ROLE),
        ("provider", granted(STRANGER, Role.ISSUER), Reason.GRANT_SUBJECT),
        ("provider", granted(OWNER, Role.ISSUER, own_key=False), Reason.GRANT_SUBJECT),
        ("provider", granted(OWNER, Role.DEVICE, OWNER), Reason.GRANT_ROLE),
        ("provider", granted(OWNER, Role.PLATFORM), Reason.GRANT_ROLE),
        ("device", granted(SUBJECT, Role.DEVICE, STRANGER), Reason.GRANT_SUBJECT),
        ("device", granted(STRANGER, Role.DEVICE, OWNER), Reason.GRANT_SUBJECT),
        ("device", granted(SUBJECT, Role.DEVICE, OWNER, own_key=False), Reason.GRANT_SUBJECT),
        ("device", granted(SUBJECT, Role.ISSUER), Reason.GRANT_ROLE),
        ("user", altered(subject_id=STRANGER), Reason.MALFORMED),
        ("user", other_certificate, Reason.MALFORMED),
        ("user", altered(certificate=b"no certificate"), Reason.MALFORMED),
        ("user", altered(subject_id=b"short"), Reason.MALFORMED),
        ("user", altered(currency="yuan"), Reason.MALFORMED),
        ("user", lambda answer: answer.ClearField("stream_addresses"), Reason.MALFORMED),
    ],
)
def test_an_answer_that_does_not_hold_enrolls_nobody(role: str, alter: Alter, reason: Reason, home: Path, ca: Path) -> None:
    with pytest.raises(Rejected) as refusal:
        enrolled(FakeCloud(role, alter), home, ca)
    assert refusal.value.reason is reason
    with pytest.raises(WrongHome, match="not enrolled"):
        load_identity(home, role)


def test_a_token_for_another_role_enrolls_nobody(home: Path, ca: Path) -> None:
    async def story() -> None:
        async with serving(FakeCloud("provider")) as address:
            await enroll(home, "user", address, ca, "token-1", clock=clock)

    with pytest.raises(WrongHome, match="for a provider, not for a user") as refusal:
        asyncio.run(story())
    assert refusal.value.hint == "ask the operator for a user's token"


def test_a_cloud_that_another_authority_certified_is_not_told_the_token(home: Path, ca: Path) -> None:
    pytest.importorskip("energyshare.rpc_errors")
    cloud = FakeCloud()
    with pytest.raises(Unavailable):
        enrolled(cloud, home, ca, FOREIGN)
    assert cloud.requests == []


@pytest.mark.parametrize(
    "contents", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_enrollment_needs_the_clouds_authority(home: Path, tmp_path: Path, contents: bytes | None) -> None:
    path = tmp_path / "authority.pem"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(Unavailable) as refusal:
        asyncio.run(enroll(home, "user", "127.0.0.1:1", path, "token-1", clock=clock))
    assert "--ca" in refusal.value.hint


# Renewal


def test_renewal_gives_a_new_certificate_for_the_same_keys(home: Path, ca: Path) -> None:
    cloud = FakeCloud("device", lifetime_s=DAY_S)

    async def story() -> tuple[Identity, Identity]:
        async with serving(cloud) as address:
            first = await enroll(home, "device", address, ca, "token-1", clock=clock)
            cloud.lifetime_s = LONG_S
            return first, await renew(first, clock=clock)

    first, second = asyncio.run(story())
    assert needs_renewal(first, NOW)
    assert not needs_renewal(second, NOW)
    assert (second.tls_key, second.key, second.grant) == (first.tls_key, first.key, first.grant)
    assert read_certificate(second.certificate).serial != read_certificate(first.certificate).serial
    assert cloud.proofs[1].token_hash is None
    assert dataclasses.replace(load_identity(home, "device"), key=second.key) == second


@pytest.mark.parametrize(("at", "needed"), [(0, False), (200, False), (201, True), (299, True), (300, True), (10_000, True)])
def test_a_certificate_is_renewed_in_the_last_third_of_its_life_or_later(at: int, needed: bool, home: Path, ca: Path) -> None:
    identity = dataclasses.replace(
        enrolled(FakeCloud(), home, ca), certificate_not_before=ISSUED, certificate_not_after=later(ISSUED, 300)
    )
    assert needs_renewal(identity, later(ISSUED, at)) is needed


# Damaged and foreign homes


@pytest.mark.parametrize("name", ["key", "tls.key", "cert.pem", "trust.pem"])
def test_a_home_with_a_file_missing_stops_the_program_and_names_it(name: str, home: Path, ca: Path) -> None:
    enrolled(FakeCloud(), home, ca)
    (home / name).unlink()
    with pytest.raises(Corrupt, match=name):
        load_identity(home, "user")


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("identity.json", "{"),
        ("identity.json", "[]"),
        ("identity.json", "{}"),
        ("key", "no key"),
        ("key", bytes([7] * 32).hex()),
    ],
)
def test_a_damaged_home_stops_the_program(name: str, contents: str, home: Path, ca: Path) -> None:
    enrolled(FakeCloud(), home, ca)
    (home / name).write_text(contents)
    with pytest.raises(Corrupt, match=name):
        load_identity(home, "user")


def test_a_record_with_a_field_of_another_kind_stops_the_program(home: Path, ca: Path) -> None:
    enrolled(FakeCloud(), home, ca)
    record = json.loads((home / "identity.json").read_text())
    for name, value in [("subject_id", "xyz"), ("root_key", 7), ("stream_addresses", None)]:
        (home / "identity.json").write_text(json.dumps(record | {name: value}))
        with pytest.raises(Corrupt, match=r"identity\.json"):
            load_identity(home, "user")


def test_a_home_serves_one_role_from_its_first_use_on(home: Path, ca: Path) -> None:
    open_home(home, "user")
    for attempt in (lambda: open_home(home, "provider"), lambda: load_identity(home, "device")):
        with pytest.raises(WrongHome, match="is the home of a user, not of a") as refusal:
            attempt()
        assert "--home" in refusal.value.hint
    with pytest.raises(WrongHome, match="is the home of a user"):
        asyncio.run(enroll(home, "provider", "127.0.0.1:1", ca, "token-1", clock=clock))


@pytest.mark.parametrize(
    ("role", "command"),
    [
        ("user", "energyshare enroll --cloud HOST:PORT --ca FILE --token-file FILE"),
        ("provider", "energyshare-provider enroll --cloud HOST:PORT --ca FILE --token-file FILE"),
        ("device", "energyshare-device enroll --cloud HOST:PORT --ca FILE --token-file FILE --provider NAME"),
    ],
)
def test_a_home_without_identity_says_how_to_enroll_and_is_not_made(role: str, command: str, home: Path) -> None:
    with pytest.raises(WrongHome, match="not enrolled") as refusal:
        load_identity(home, role)
    assert refusal.value.hint == f"enroll it with: {command}"
    assert not home.exists()


# Homes


def test_a_directory_that_others_can_enter_becomes_private_while_empty_and_is_refused_later(tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    for directory in (empty, full):
        directory.mkdir()
        directory.chmod(0o755)
    (full / "letters.txt").write_text("mine")
    open_home(empty, "user")
    assert stat.S_IMODE(empty.stat().st_mode) == 0o700
    with pytest.raises(WrongHome, match="others can enter") as refusal:
        open_home(full, "user")
    assert refusal.value.hint == f"close it with: chmod 700 {full}"


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(WrongHome, match="can't be a home"):
            open_home(directory, "user")


def test_a_file_is_replaced_whole_whatever_a_crash_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    path.write_text("old")
    (tmp_path / ".identity.json.new").write_text("half of something much longer")
    write_atomically(path, b"new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


HOLD = """
import sys
from pathlib import Path
from energyshare.home import lock_home
sys.argv[0] = "/usr/bin/energyshare-provider"
with lock_home(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(home: Path) -> subprocess.Popen[str]:
    """Start another process that holds a home's lock until its input ends."""
    command = [sys.executable, "-c", HOLD, str(home)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_a_home_is_locked_by_one_process_until_that(how: str, home: Path) -> None:
    with holder(home) as other:
        with pytest.raises(Unavailable, match=rf"in use by process {other.pid} \(energyshare-provider\)"), lock_home(home):
            pass
        if how == "is killed":
            other.kill()
        other.communicate()
    with lock_home(home):
        pass


def test_a_home_is_locked_once_in_one_process_too(home: Path) -> None:
    with lock_home(home):
        with pytest.raises(Unavailable, match="in use"), lock_home(home):
            pass
        with pytest.raises(Unavailable, match="in use"), lock_home(home):
            pass
    with lock_home(home):
        pass


def test_reading_an_identity_loads_neither_grpc_nor_x509(home: Path, ca: Path) -> None:
    enrolled(FakeCloud(), home, ca)
    script = (
        "import sys; from pathlib import Path; from terminals.identity import load_identity\n"
        "load_identity(Path(sys.argv[1]), 'user'); print({'grpc', 'cryptography', 'asyncio'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, str(home)]
    assert subprocess.check_output(command, cwd=REPOSITORY, text=True) == "set()\n"


# Mutual TLS


class WhoAmI(grpc.GenericRpcHandler):
    """Answers any call with the SPIFFE id that the transport saw."""

    def service(self, handler_call_details: object) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        (spiffe,) = context.auth_context()["peer_spiffe_id"]
        return bytes(spiffe)


async def ask_who_i_am(credentials: grpc.ChannelCredentials, chain: bytes, key: bytes) -> str:
    server = grpc.aio.server(options=LOCAL)
    server.add_generic_rpc_handlers((WhoAmI(),))
    trusted = grpc.ssl_server_credentials([(key, chain)], AUTHORITY.certificate_pem, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", trusted)
    await server.start()
    try:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            call: Any = channel.unary_unary("/test.WhoAmI/Ask")
            return bytes(await call(b"", timeout=10)).decode()
    finally:
        await server.stop(None)


def server_files(authority: Authority = AUTHORITY) -> tuple[bytes, bytes]:
    chain, key, _ = authority.issue_server(["127.0.0.1"], ISSUED, LONG_S)
    return chain, key


def terminal_files(authority: Authority = AUTHORITY, lifetime_s: int = LONG_S) -> tuple[bytes, bytes]:
    key, request = new_key_and_request()
    return authority.issue_terminal(request, "user", SUBJECT, ISSUED, lifetime_s).pem, key


def test_the_stream_service_sees_who_an_enrolled_terminal_is(home: Path, ca: Path) -> None:
    credentials = channel_credentials(enrolled(FakeCloud("device"), home, ca))
    assert asyncio.run(ask_who_i_am(credentials, *server_files())) == f"spiffe://share.example/device/{UUID(bytes=SUBJECT)}"


@pytest.mark.parametrize(
    "files",
    [
        lambda: terminal_files(lifetime_s=DAY_S),
        lambda: terminal_files(FOREIGN),
        server_files,
        lambda: (None, None),
    ],
    ids=["expired", "of a foreign authority", "of a server", "none"],
)
def test_a_client_without_a_proper_certificate_gets_nowhere(files: Callable[[], tuple[bytes | None, bytes | None]]) -> None:
    chain, key = files()
    credentials = grpc.ssl_channel_credentials(AUTHORITY.certificate_pem, key, chain)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        asyncio.run(ask_who_i_am(credentials, *server_files()))
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "files", [lambda: server_files(FOREIGN), terminal_files], ids=["of a foreign authority", "of a terminal"]
)
def test_a_server_without_a_proper_certificate_is_told_nothing(
    files: Callable[[], tuple[bytes, bytes]], home: Path, ca: Path
) -> None:
    credentials = channel_credentials(enrolled(FakeCloud(), home, ca))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        asyncio.run(ask_who_i_am(credentials, *files()))
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
