"""A local cluster of real processes: cloud, providers, devices, users, each in a home of its own.

Everything listens on loopback, on ports that were free a moment ago. A process is known by its object and ended by its own
id; the cluster ends all that it started. Commands run to their end within a time limit.
"""

import asyncio
import atexit
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from cloud.config import CloudHome
from cloud.operator_client import ask_node
from energyshare.v1 import operator_pb2

T = TypeVar("T")
BIN = Path(sys.executable).parent
READY_WITHIN_S = 30
COMMAND_WITHIN_S = 60
ENVIRONMENT = os.environ | {"ENERGYSHARE_LOG": "INFO", "PYTHONDONTWRITEBYTECODE": ""}  # compiled once, a start is twice as fast

DAY_TARIFF = {
    "currency": "CNY",
    "elements": [
        {
            "price_components": [
                {"type": "FLAT", "price": 1.00, "vat": 6.0, "step_size": 1},
                {"type": "ENERGY", "price": 1.20, "vat": 13.0, "step_size": 1},
                {"type": "PARKING_TIME", "price": 6.00, "vat": 6.0, "step_size": 60},
            ]
        }
    ],
}
RENTAL_TARIFF = {
    "currency": "CNY",
    "elements": [
        {
            "price_components": [
                {"type": "ENERGY", "price": 2.00, "vat": 13.0, "step_size": 1},
                {"type": "TIME", "price": 3.00, "vat": 6.0, "step_size": 60},
            ]
        }
    ],
    "min_price": {"excl_vat": 1.00, "incl_vat": 1.06},
}
CALLOUT_TARIFF = {
    "currency": "CNY",
    "elements": [
        {
            "price_components": [
                {"type": "FLAT", "price": 30.00, "vat": 6.0, "step_size": 1},
                {"type": "TIME", "price": 90.00, "vat": 6.0, "step_size": 300},
                {"type": "ITEM", "item": "jump-start", "price": 50.00, "vat": 6.0},
                {"type": "ITEM", "item": "tyre", "price": 120.00, "vat": 13.0},
            ]
        }
    ],
}


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


LOOP = asyncio.Runner()  # one for all: gRPC's poller does not outlive loops well
atexit.register(LOOP.close)


class Failed(Exception):
    """A command did not end as it should."""


@dataclass(slots=True)
class Daemon:
    """A process that serves; `ready` is what it said when it was."""

    name: str
    process: subprocess.Popen[str]
    ready: dict[str, Any]
    log: Path

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self._reap()

    def stop(self) -> None:
        """Ask it to stop; killed if it does not."""
        if self.is_alive:
            self.process.terminate()
        try:
            self._reap()
        except subprocess.TimeoutExpired:
            self.kill()

    def _reap(self) -> None:
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass(slots=True)
class Cluster:
    """A cloud, and whoever was added to it."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    signs_grants: bool = True
    stream_port: int = field(default_factory=free_port)
    enrollment_port: int = field(default_factory=free_port)
    cloud: Daemon | None = None
    daemons: list[Daemon] = field(default_factory=list)

    def home(self, name: str) -> Path:
        """Give the home of a party."""
        return self.folder / name

    def make_cloud(self) -> None:
        """Make the cloud's home and start it."""
        self.run("energyshare-cloud", "init", home="cloud", extra=["--name", "127.0.0.1", "--sandbox"])
        self._set(self.settings)
        self.start_cloud()

    def start_cloud(self) -> Daemon:
        """Start the cloud's node on its ports."""
        listen = ["--listen", f"127.0.0.1:{self.stream_port}", "--enrollment-listen", f"127.0.0.1:{self.enrollment_port}"]
        root = ["--root-key", str(self.home("cloud") / "root.key")] if self.signs_grants else []
        self.cloud = self.serve("cloud", ["energyshare-cloud", "serve", *listen, *root], "cloud")
        return self.cloud

    def operator(self, *arguments: str) -> Any:
        """Run an operator's command; gives its JSON."""
        return self.run("energyshare-cloud", *arguments, home="cloud")

    def ask(self, method: str, request: Message) -> Any:
        """Ask the running node as the operator, from this process; gives the answer."""
        return await_here(ask_node(CloudHome(self.home("cloud")), method, request))

    def token(self, role: str, name: str) -> Path:
        """Have the operator make a join token; gives the file that it is in."""
        path = self.folder / f"{role}-{name.replace('/', '-')}.token"
        asked = operator_pb2.CreateTokenRequest(request_id=os.urandom(16), role=role, name=name)
        path.write_text(self.ask("CreateToken", asked).token)
        path.chmod(0o600)
        return path

    def add_user(self, name: str, top_up: str = "") -> None:
        """Enroll a user, and pay in for it."""
        self._enroll("energyshare", "user", name)
        if top_up:
            self.user(name, "wallet", "top-up", top_up)

    def add_terminal(self, account: str, home: str) -> None:
        """Enroll another terminal of a user's account."""
        self._enroll("energyshare", "user", account, home=home)

    def add_provider(self, name: str, config: str, tariffs: Mapping[str, Any]) -> Daemon:
        """Enroll a provider, write its configuration, start its daemon."""
        self.enroll_provider(name)
        self.configure_provider(name, config, tariffs)
        return self.start_provider(name)

    def enroll_provider(self, name: str) -> None:
        """Enroll a provider."""
        self._enroll("energyshare-provider", "provider", name)

    def configure_provider(self, name: str, config: str, tariffs: Mapping[str, Any]) -> None:
        """Write a provider's configuration and its tariffs."""
        for file, tariff in tariffs.items():
            (self.folder / file).write_text(json.dumps(tariff))
        (self.folder / f"{name}.toml").write_text(config)

    def start_provider(self, name: str) -> Daemon:
        """Start a provider's daemon; ready means connected."""
        return self.serve(name, ["energyshare-provider", "run", str(self.folder / f"{name}.toml")], name)

    def enroll_device(self, name: str, provider: str, kind: str, *options: str) -> None:
        """Enroll a device of a provider."""
        home = name.replace("/", "-")
        self._enroll("energyshare-device", "device", name, "--provider", provider, "--kind", kind, *options, home=home)

    def start_device(self, name: str, port: int) -> Daemon:
        """Start a device's program."""
        home = name.replace("/", "-")
        return self.serve(home, ["energyshare-device", "run", "--listen", f"127.0.0.1:{port}"], home)

    def user(self, name: str, *arguments: str, status: int = 0) -> Any:
        """Run a user's command; gives its JSON."""
        return self.run("energyshare", *arguments, home=name, status=status)

    def run(self, program: str, *arguments: str, home: str, status: int = 0, extra: Sequence[str] = ()) -> Any:
        """Run a command to its end; gives its JSON, or its text where it prints none."""
        command = [str(BIN / program), *arguments, *extra, "--home", str(self.home(home)), "--json"]
        done = _finished(command, status)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return done.stdout + done.stderr

    def text(self, program: str, *arguments: str, home: str, status: int = 0) -> str:
        """Run a command as a person would; gives what it prints."""
        command = [str(BIN / program), *arguments, "--home", str(self.home(home))]
        done = _finished(command, status)
        return done.stdout + done.stderr

    def spawn(self, program: str, *arguments: str, home: str) -> subprocess.Popen[str]:
        """Start a command without waiting for its end."""
        command = [str(BIN / program), *arguments, "--home", str(self.home(home)), "--json"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)

    def serve(self, name: str, command: Sequence[str], home: str) -> Daemon:
        """Start a daemon and wait until it says that it is ready."""
        log = self.folder / f"{name}.log"
        with log.open("a") as errors:
            process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:], "--home", str(self.home(home)), "--json"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=ENVIRONMENT,
            )
        daemon = Daemon(name, process, {}, log)
        self.daemons.append(daemon)
        daemon.ready = _ready(daemon)
        return daemon

    def stop(self) -> None:
        """End everything that was started here."""
        for daemon in reversed(self.daemons):
            daemon.stop()

    def _enroll(self, program: str, role: str, name: str, *options: str, home: str = "") -> None:
        token = self.token(role, name)
        cloud = ["--cloud", f"127.0.0.1:{self.enrollment_port}", "--ca", str(self.home("cloud") / "ca.pem")]
        self.run(program, "enroll", *cloud, "--token-file", str(token), *options, home=home or name)

    def _set(self, settings: Mapping[str, str]) -> None:
        """Change settings in cloud.toml."""
        path = self.home("cloud") / "cloud.toml"
        lines = path.read_text().splitlines()
        for key, value in settings.items():
            lines = [f"{key} = {value}" if line.startswith(f"{key} = ") else line for line in lines]
        path.write_text("\n".join(lines) + "\n")


@contextmanager
def cluster(
    settings: Mapping[str, str] | None = None, folder: Path | None = None, *, signs_grants: bool = True
) -> Iterator[Cluster]:
    """Give a cluster with a running cloud, in a folder that goes away with it."""
    made = folder or Path(tempfile.mkdtemp(prefix="es-"))
    one = Cluster(made, {"timer_grace_s": "0"} | dict(settings or {}), signs_grants)
    try:
        one.make_cloud()
        yield one
    finally:
        one.stop()
        if folder is None:
            shutil.rmtree(made, ignore_errors=True)


def await_here(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in the test's own process and thread."""
    return LOOP.run(coroutine)


def until(what: str, holds: Any, within_s: float = 20.0, every_s: float = 0.05) -> Any:
    """Ask again until something holds; gives it. Raises Failed after the time."""
    deadline = time.monotonic() + within_s
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what} did not come within {within_s} s")
        select.select([], [], [], every_s)


def _finished(command: Sequence[str], status: int) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; raises Failed when it ends with another status."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_WITHIN_S,
        check=False,
        env=ENVIRONMENT,
    )
    if done.returncode != status:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def _ready(daemon: Daemon) -> dict[str, Any]:
    """Read the line in which a daemon says that it is ready."""
    assert daemon.process.stdout is not None
    found, _, _ = select.select([daemon.process.stdout], [], [], READY_WITHIN_S)
    line = daemon.process.stdout.readline() if found else ""
    if not line:
        daemon.stop()
        raise Failed(f"{daemon.name} did not become ready:\n{daemon.log.read_text()[-4000:]}")
    said: dict[str, Any] = json.loads(line)
    return said
