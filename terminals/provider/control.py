"""How commands reach a running daemon: acts and answers as JSON, a line each, over a Unix socket in its home.

Only the home's owner can enter it. A command that is refused is answered with the reason, and changed nothing.
"""

import asyncio
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from energyshare.errors import EnergyShareError, Reason, Rejected, Unavailable
from energyshare.program import hint_for
from terminals.provider.acts import Act, Facts, Perform

logger = logging.getLogger(__name__)

SOCKET = "control.sock"
SOCKET_PATH_MAX = 100  # the system takes 107 characters
LINE_BYTES_MAX = 64 * 1024
ANSWER_WITHIN_S = 30.0


class NotRunning(EnergyShareError):
    """No daemon of this home listens."""

    hint = "start it with: energyshare-provider run CONFIG.toml"


class Failed(EnergyShareError):
    """The daemon could not do it; says why in its words."""

    def __init__(self, what: str, hint: str | None) -> None:
        super().__init__(what)
        self.hint = hint


class Failure(msgspec.Struct, frozen=True):
    """Why an act was not done; `reason` and `metadata` are a refusal's."""

    kind: Literal["REJECTED", "UNAVAILABLE", "FAILED"]
    what: str
    hint: str | None = None
    reason: str = ""
    metadata: dict[str, str] = {}


class Answer(msgspec.Struct, frozen=True):
    """What an act came to: facts, or a failure."""

    facts: Facts = {}
    failure: Failure | None = None


ACT: msgspec.json.Decoder[Act] = msgspec.json.Decoder(Act)


# The daemon's side


@asynccontextmanager
async def serving(home: Path, perform: Perform) -> AsyncIterator[None]:
    """Take commands while the body runs; the caller holds the home's lock."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await _line(reader):
                writer.write(msgspec.json.encode(await _answer(line, perform)) + b"\n")
                await writer.drain()
        except ConnectionError:
            logger.debug("a command went away before it was answered")
        finally:
            writer.close()

    with _socket_path(home) as path:
        server = await asyncio.start_unix_server(serve, path, limit=LINE_BYTES_MAX)
        os.chmod(path, 0o600)
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Read a line; one that is too long ends the connection."""
    try:
        return await reader.readline()
    except ValueError:
        return b""


async def _answer(line: bytes, perform: Perform) -> Answer:
    try:
        act = ACT.decode(line)
    except msgspec.DecodeError as error:
        return Answer(failure=_failure(Rejected(Reason.MALFORMED, problem=str(error))))
    try:
        return Answer(await perform(act))
    except EnergyShareError as error:
        return Answer(failure=_failure(error))
    except Exception as error:
        logger.exception("a command failed")
        return Answer(failure=Failure("FAILED", f"the daemon failed on this: {error!r}", "read its log"))


def _failure(error: EnergyShareError) -> Failure:
    match error:
        case Rejected():
            return Failure("REJECTED", str(error), hint_for(error), error.reason, dict(error.metadata))
        case Unavailable():
            return Failure("UNAVAILABLE", str(error), error.hint)
        case _:
            return Failure("FAILED", str(error), hint_for(error))


@contextmanager
def _socket_path(home: Path) -> Iterator[Path]:
    """Give a path for the socket, in the home or, where that is too long, in a private folder named in it."""
    path, named = home / SOCKET, home / f"{SOCKET}.path"
    named.unlink(missing_ok=True)
    if len(str(path.absolute())) <= SOCKET_PATH_MAX:
        path.unlink(missing_ok=True)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="energyshare-") as folder:
        named.write_text(str(Path(folder) / SOCKET))
        try:
            yield Path(folder) / SOCKET
        finally:
            named.unlink(missing_ok=True)


# The command's side


def call(home: Path, act: Act, within_s: float = ANSWER_WITHIN_S) -> Facts:
    """Have the running daemon do an act. Raises: NotRunning; what the act was refused with; Unavailable without an answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(within_s)
        try:
            line.connect(str(_socket_of(home)))
        except OSError:
            raise NotRunning(f"no daemon runs in {home}") from None
        try:
            line.sendall(msgspec.json.encode(act) + b"\n")
            answer = line.makefile("rb").readline()
        except OSError as error:
            raise Unavailable(f"the daemon does not answer: {error}", "look at its log") from None
    if not answer:
        raise Unavailable("the daemon ended before it answered", "start it again and look at the order")
    return _facts(msgspec.json.decode(answer, type=Answer))


def _facts(answer: Answer) -> Facts:
    failure = answer.failure
    if failure is None:
        return answer.facts
    if failure.kind == "REJECTED" and failure.reason in Reason.__members__:
        raise Rejected(Reason(failure.reason), **failure.metadata)
    if failure.kind == "UNAVAILABLE":
        raise Unavailable(failure.what, failure.hint or "try again in a moment")
    raise Failed(failure.what, failure.hint)


def _socket_of(home: Path) -> Path:
    named = home / f"{SOCKET}.path"
    return Path(named.read_text()) if named.exists() else home / SOCKET
