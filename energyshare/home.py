"""A home: the directory that holds one identity of one role, with its keys and journals.

Only its owner can enter it. A process that writes in it holds its lock, so that two programs never sign with the same key at
the same time. What is written once and read again is replaced whole or not at all.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from energyshare.errors import EnergyShareError, Unavailable

PROGRAMS: Final = {
    "cloud": "energyshare-cloud",
    "user": "energyshare",
    "provider": "energyshare-provider",
    "device": "energyshare-device",
}


WANTED: Final = "lock.wanted"


class WrongHome(EnergyShareError):
    """A home can't be used for what was asked; nothing in it changed."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Keep other processes from writing in a home, which is made if it is missing.

    Raises: Unavailable naming the process that holds it, WrongHome when others can enter it.
    """
    make_private(home)
    with (home / "lock").open("a+") as file:
        os.chmod(file.fileno(), 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(home) from None
        _replace(file.fileno(), f"{os.getpid()} {Path(sys.argv[0]).name}\n")
        yield
        _replace(file.fileno(), "")


@contextmanager
def lock_home_patiently(home: Path, within_s: float) -> Iterator[None]:
    """Keep other processes from writing in a home, waiting for one that holds it for a moment; raises as lock_home."""
    deadline = time.monotonic() + within_s
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(lock_home(home))
                break
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield


@contextmanager
def borrow_home(home: Path, within_s: float) -> Iterator[None]:
    """Keep other processes from writing in a home; a program that only watches it gives it up for as long.

    Raises: as lock_home, after the time when it is not given up.
    """
    with ExitStack() as held:
        try:
            held.enter_context(lock_home(home))
        except Unavailable:
            with (home / WANTED).open("a") as wish:  # a lock too: the wish of a program that dies goes with it
                fcntl.flock(wish, fcntl.LOCK_SH)
                held.enter_context(lock_home_patiently(home, within_s))
        yield


def is_wanted(home: Path) -> bool:
    """Say whether another program waits for a home."""
    return _is_locked(home / WANTED)


def is_free(home: Path) -> bool:
    """Say whether nobody holds a home, and nobody waits for it."""
    return not (_is_locked(home / "lock") or is_wanted(home))


def _is_locked(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def open_home(home: Path, role: str) -> None:
    """Make a home, or take it as it is; raises WrongHome when it is another role's or others can enter it."""
    make_private(home)
    require_role(home, role)
    if not (home / "role.txt").exists():
        write_atomically(home / "role.txt", f"{role}\n".encode())


def require_role(home: Path, role: str) -> None:
    """Raise WrongHome when a home belongs to another role; one without a role is nobody's yet."""
    path = home / "role.txt"
    found = path.read_text().strip() if path.exists() else role
    if found != role:
        raise WrongHome(f"{home} is the home of a {found}, not of a {role}", "name another directory with --home")


def make_private(home: Path) -> None:
    """Make a home for its owner only; raises WrongHome when others can enter one that holds files already."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        open_to_others = bool(home.stat().st_mode & 0o077)
        if open_to_others and not any(home.iterdir()):
            home.chmod(0o700)
            open_to_others = False
    except OSError as error:
        raise WrongHome(f"{home} can't be a home: {error.strerror}", "name another directory with --home") from None
    if open_to_others:
        raise WrongHome(f"others can enter {home}, which is to hold keys", f"close it with: chmod 700 {home}")


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file so that after a power cut it holds the old bytes or the new ones; the home's lock is held."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(descriptor: int, text: str) -> None:
    os.truncate(descriptor, 0)
    os.write(descriptor, text.encode())


def _in_use(home: Path) -> Unavailable:
    pid, _, program = (home / "lock").read_text().strip().partition(" ")
    holder = f"process {pid} ({program})" if pid else "another process"
    return Unavailable(f"{home} is in use by {holder}", "end that program first, or name another directory with --home")
