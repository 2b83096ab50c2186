"""Opening the database: one connection writes and checkpoints, readers are read-only.

SQLite runs in WAL with synchronous=FULL, so that what was acknowledged survives a power cut. Every transaction that writes
begins IMMEDIATE: a deferred one that writes later fails at once when another holds the lock.
"""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, select, update
from sqlalchemy.pool import StaticPool

from cloud.store.tables import meta
from energyshare.errors import Corrupt
from energyshare.values import Incarnation


def open_writer(path: Path) -> Engine:
    """Open the writing side, bringing the tables up to date; the caller holds the home's lock."""
    engine = create_engine(f"sqlite:///{path}", poolclass=StaticPool, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _prepare_writer)
    event.listen(engine, "begin", _begin_immediate)
    migrate(engine)
    return engine


def open_reader(path: Path) -> Engine:
    """Open a read-only side; it neither writes nor checkpoints."""
    engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true", connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _prepare_reader)
    event.listen(engine, "begin", _begin_read)
    return engine


def migrate(engine: Engine) -> None:
    """Bring the tables up to date."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "cloud.store:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def incarnation_of(engine: Engine) -> Incarnation:
    """Give the database's own random number, making it on first use."""
    with engine.begin() as connection:
        stored = read_meta(connection, "incarnation")
        if stored is None:
            stored = os.urandom(16)
            write_meta(connection, "incarnation", stored)
    return Incarnation(stored)


def read_meta(connection: Connection, key: str) -> bytes | None:
    """Read a setting that was stored with the database."""
    found: bytes | None = connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()
    return found


def write_meta(connection: Connection, key: str, value: bytes) -> None:
    """Store a setting with the database."""
    if read_meta(connection, key) is None:
        connection.execute(insert(meta).values(key=key, value=value))
    else:
        connection.execute(update(meta).where(meta.c.key == key).values(value=value))


def require_sound(engine: Engine) -> None:
    """Raise Corrupt when the database file contradicts itself."""
    with engine.connect() as connection:
        verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if verdict != "ok":
        raise Corrupt(f"the database is damaged: {verdict}", "restore it from a backup")


def _prepare_writer(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where the engine says so
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA cache_size=-65536")


def _prepare_reader(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _begin_read(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
