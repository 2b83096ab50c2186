"""Other processes for a benchmark: started fresh, heard on one line of JSON, stopped by their own pid.

A child is a new interpreter and never a fork, which grpc does not survive. It says that it is ready, or what it measured, in
one line of JSON on its stdout, and writes nothing there afterwards: nobody reads it. An alarm that the kernel keeps ends it
after its lifetime, even when its parent is gone. Addresses are on 127.0.0.1 only.
"""

import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from energyshare.errors import Unavailable

HOST = "127.0.0.1"
ROOT = Path(__file__).parent.parent
READY_S = 20.0
STOP_S = 5.0  # then it is killed
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Command = tuple[str, ...]
Said = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Running:
    """A child that has said its line."""

    pid: int
    said: Said


@dataclass(frozen=True, slots=True)
class Usage:
    """A moment of the monotonic clock, and the processor time that server and load have used until then, in seconds."""

    at_s: float
    server_cpu_s: float
    load_cpu_s: float


@dataclass(frozen=True, slots=True)
class Rate:
    """How many a second, and what one of them costs on either side, in milliseconds of processor time."""

    per_s: float
    server_cpu_ms: float
    load_cpu_ms: float

    def in_words(self, one: str) -> str:
        """Say it in a line for people; `one` is what was counted, in the singular."""
        cost = f"{self.server_cpu_ms:.2f} ms in the server, {self.load_cpu_ms:.2f} ms in the load"
        return f"{self.per_s:,.0f} {one}s/s; processor time of one: {cost}"


def module(name: str, *arguments: str) -> Command:
    """Name a module to run with a command line, as `python -m` does."""
    return (name, *arguments)


def function(target: str, *arguments: str | int | float | list[str]) -> Command:
    """Name a function to call, as `package.module:function`."""
    return (target, *map(json.dumps, arguments))


@contextmanager
def running(command: Command, lifetime_s: int = 300, ready_s: float = READY_S) -> Iterator[Running]:
    """Run a command next to this process until the block ends.

    Raises: Unavailable if it ends, or lets `ready_s` pass, before it has said its line.
    """
    child = _start(command, lifetime_s)
    try:
        yield Running(child.pid, _first_line(child, command[0], time.monotonic() + ready_s))
    finally:
        _stop(child)


def result_of(command: Command, lifetime_s: int = 300) -> Said:
    """Run a command until it has said its line, which is its result; raises Unavailable if it says none."""
    with running(command, lifetime_s, ready_s=lifetime_s) as child:
        return child.said


def announce(said: Said) -> None:
    """Say this process's line."""
    print(json.dumps(said), flush=True)


def free_port() -> int:
    """Find a TCP port that nothing listens on; another program can still take it first."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """Read the processor time of all threads of a process; raises FileNotFoundError if there is none.

    Source: proc_pid_stat(5), fields utime and stime.
    """
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    utime, stime = after_name[11:13]
    return (int(utime) + int(stime)) / CLOCK_TICKS_PER_S


def usage(server_pid: int) -> Usage:
    """Take a server's usage and this process's, at this moment."""
    return Usage(time.monotonic(), cpu_seconds(server_pid), cpu_seconds(os.getpid()))


def rate(count: int, before: Usage, after: Usage) -> Rate:
    """Put what was counted between two moments in relation to time and cost."""
    return Rate(
        per_s=count / (after.at_s - before.at_s),
        server_cpu_ms=1000 * (after.server_cpu_s - before.server_cpu_s) / max(count, 1),
        load_cpu_ms=1000 * (after.load_cpu_s - before.load_cpu_s) / max(count, 1),
    )


def _start(command: Command, lifetime_s: int) -> subprocess.Popen[bytes]:
    # A session of its own: an interrupt at the keyboard reaches the parent only, which then stops its children.
    wrapped = [sys.executable, "-m", "benchmarks.processes", str(lifetime_s), *command]
    return subprocess.Popen(wrapped, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)


def _first_line(child: subprocess.Popen[bytes], name: str, deadline_s: float) -> Said:
    assert child.stdout is not None
    heard = b""
    while b"\n" not in heard:
        if not select.select([child.stdout], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
            raise Unavailable(f"{name} said nothing in time", hint="give it longer, or fewer clients")
        more = os.read(child.stdout.fileno(), 65536)
        if not more:
            raise Unavailable(f"{name} ended before it said anything", hint="read its messages above")
        heard += more
    said: Said = json.loads(heard.partition(b"\n")[0])
    return said


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _be_child(lifetime_s: int, target: str, *arguments: str) -> None:
    signal.alarm(lifetime_s)
    name, _, called = target.partition(":")
    if called:
        getattr(import_module(name), called)(*map(json.loads, arguments))
    else:
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _be_child(int(sys.argv[1]), *sys.argv[2:])
