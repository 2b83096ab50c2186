"""Backups: a copy of the database as of one instant, and putting one back.

A backup holds the database alone. The keys stay apart: with them in the same file, whoever gets hold of a backup could pass for
the cloud. A database that was put back gets a new incarnation, since what was acknowledged after the backup is lost and the
terminals are to say it again.
"""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from alembic.script import ScriptDirectory
from msgspec import Struct
from sqlalchemy import insert

from cloud.store import migrations
from cloud.store.database import open_writer, write_meta
from cloud.store.tables import operator_acts
from energyshare.bodies import GrantBody
from energyshare.errors import Corrupt, Rejected, Unavailable
from energyshare.values import Instant, PublicKey, datetime_of
from energyshare.wire import open_signed

OTHER_FILE = "name another file"


class Holdings(Struct, frozen=True):
    """What a database holds; `revision` is that of its tables."""

    revision: str
    orders: int
    transfers: int
    bytes: int


def back_up(database: Path, target: Path) -> Holdings:
    """Copy a database that may be in use to a new file; it is checked and on disk before it bears its name.

    Raises: FileExistsError, other OSError, or Corrupt when the copy is not sound.
    """
    if target.exists():
        raise FileExistsError(f"{target} is there already")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    draft = _draft_beside(target)
    try:
        _copy(database, draft)
        made = inspect(draft)
        _sync(draft)
        _place(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    _sync(target.parent)
    return made


def inspect(path: Path) -> Holdings:
    """Say what a database file holds.

    Raises: Corrupt when it is damaged or no cloud's database, Unavailable when a newer program made it.
    """
    try:
        with closing(_open_read_only(path)) as connection:
            found = _holdings(connection, path.stat().st_size)
    except sqlite3.Error as error:
        raise Corrupt(f"{path} is no sound database of a cloud: {error}", OTHER_FILE) from None
    if found.revision not in _known_revisions():
        raise Unavailable(f"{path} was made by a newer program (tables {found.revision})", "update this program first")
    return found


def restore(backup: Path, database: Path, root: PublicKey, operator: str, now: Instant) -> Path | None:
    """Put a backup in the place of a database that nobody has open; gives the file in which the old one is kept.

    Raises: as `inspect`, and Corrupt when its grants are not signed by the platform root that the home knows.
    """
    inspect(backup)
    _require_granted_by(backup, root)
    draft = _draft_beside(database)
    try:
        shutil.copyfile(backup, draft)
        _renew(draft, backup, operator, now)
        _sync(draft)
        kept = _keep(database, now)
        draft.replace(database)
    finally:
        draft.unlink(missing_ok=True)
    _sync(database.parent)
    return kept


def _draft_beside(path: Path) -> Path:
    """Make an empty file that only its owner reads, under a name of its own: what a crash left behind is in nobody's way."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    return Path(name)


def _copy(database: Path, draft: Path) -> None:
    """Copy in one read transaction, which holds up no writer."""
    try:
        with closing(_open_read_only(database)) as connection:
            connection.execute("VACUUM INTO ?", (str(draft),))
    except sqlite3.DatabaseError as error:
        raise OSError(f"the copy failed: {error}") from None


def _open_read_only(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def _holdings(connection: sqlite3.Connection, size: int) -> Holdings:
    def scalar(statement: str) -> str:
        return str((connection.execute(statement).fetchone() or [""])[0])

    verdict = scalar("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    return Holdings(
        scalar("SELECT version_num FROM alembic_version"),
        int(scalar("SELECT count(*) FROM orders")),
        int(scalar("SELECT count(*) FROM transfers")),
        size,
    )


def _known_revisions() -> set[str]:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    return {script.revision for script in scripts.walk_revisions()}


def _require_granted_by(backup: Path, root: PublicKey) -> None:
    """Refuse another cloud's backup: no terminal would believe this home's keys."""
    with closing(_open_read_only(backup)) as connection:
        row = connection.execute("SELECT grant_signed FROM terminals WHERE grant_signed IS NOT NULL LIMIT 1").fetchone()
    try:
        if row is not None:
            open_signed(GrantBody, row[0], root)
    except Rejected:
        raise Corrupt(
            f"{backup} is of another cloud: this home's platform root did not sign its grants",
            "restore it into a home that holds the keys of that cloud",
        ) from None


def _renew(draft: Path, backup: Path, operator: str, now: Instant) -> None:
    """Give a database a new incarnation, and a line in its record of acts."""
    act = {"at": now, "operator": operator, "act": "restore", "subject": str(backup)[-128:], "note": ""}
    engine = open_writer(draft)
    try:
        with engine.begin() as connection:
            write_meta(connection, "incarnation", os.urandom(16))
            connection.execute(insert(operator_acts).values(**act))
    finally:
        engine.dispose()  # the last one to close it leaves no log behind


def _keep(database: Path, now: Instant) -> Path | None:
    """Keep a database and its log under another name; the log must be gone before another database takes the name.

    After a power cut within, both are whole under the new name, and the restore is to be run again.
    """
    if not database.exists():
        return None
    kept = database.with_name(f"{database.name}.{datetime_of(now):%Y%m%dT%H%M%S%f}")
    os.link(database, kept)
    log = Path(f"{database}-wal")
    if log.exists():
        os.link(log, f"{kept}-wal")
    _sync(database.parent)
    log.unlink(missing_ok=True)
    Path(f"{database}-shm").unlink(missing_ok=True)
    return kept


def _place(draft: Path, target: Path) -> None:
    """Give a file its name; a link, other than a rename, replaces nothing."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, as on most USB sticks
        if target.exists():
            raise FileExistsError(f"{target} is there already") from None
        draft.rename(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
