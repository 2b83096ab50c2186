"""Backups: what a copy holds, what is refused as one, and what putting it back leaves behind."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud.store import tables as t
from cloud.store.backup import back_up, inspect, restore
from cloud.store.database import incarnation_of, open_reader, open_writer
from cloud.store.readers import Readers
from energyshare.errors import Corrupt, EnergyShareError, Unavailable
from energyshare.values import Instant, OrderState, PublicKey
from tests.cloud.actors import ROOT, STRANGER_ROOT, T0, Cloud, grant
from tests.cloud.conftest import OpenCloud
from tests.cloud.story import Story

Damage = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "kept"
    made.mkdir()
    return made


def put_back(file: Path, database: Path, root: PublicKey = ROOT.public) -> Path | None:
    return restore(file, database, root, "olga", T0)


def test_a_copy_holds_what_was_committed_while_the_node_goes_on(cloud: Cloud, folder: Path) -> None:
    story = Story(cloud).until_active()
    made = back_up(cloud.path, folder / "one.db")
    assert made == inspect(folder / "one.db")
    assert (made.orders, made.transfers) == (1, 3)
    story.end(60, 10)
    story.by_user(story.asking_to_end())
    assert story.state == OrderState.ENDING
    assert sorted(path.name for path in folder.iterdir()) == ["one.db"]
    assert (folder / "one.db").stat().st_mode & 0o777 == 0o600


def test_a_copy_that_was_put_back_is_the_cloud_of_that_instant(cloud: Cloud, open_cloud: OpenCloud, folder: Path) -> None:
    story = Story(cloud).until_active()
    back_up(cloud.path, folder / "one.db")
    story.end(60, 10)
    story.by_user(story.asking_to_end())
    before = incarnation_of(cloud.engine)
    cloud.close()

    kept = put_back(folder / "one.db", cloud.path)
    again = Cloud(cloud.path, cloud.roster)
    assert again.order(story.order).state == OrderState.ACTIVE
    assert again.audit().fault == ""
    assert incarnation_of(again.engine) != before
    acts = again.readers.rows(select(t.operator_acts))
    assert [(act.operator, act.act, act.subject) for act in acts] == [("olga", "restore", str(folder / "one.db"))]
    again.close()

    assert kept is not None
    old = Cloud(kept, cloud.roster)
    assert old.order(story.order).state == OrderState.ENDING
    assert incarnation_of(old.engine) == before
    old.close()


def test_a_log_that_a_killed_node_left_goes_with_its_database(cloud: Cloud, folder: Path, tmp_path: Path) -> None:
    back_up(cloud.path, folder / "one.db")
    Story(cloud).until_active()
    killed = tmp_path / "killed.db"
    for end in ("", "-wal"):
        shutil.copy(f"{cloud.path}{end}", f"{killed}{end}")
    kept = put_back(folder / "one.db", killed)
    assert kept is not None
    assert not Path(f"{killed}-wal").exists()
    assert (inspect(killed).orders, inspect(kept).orders) == (0, 1)


def test_a_home_without_a_database_takes_one_and_keeps_nothing(cloud: Cloud, folder: Path) -> None:
    back_up(cloud.path, folder / "one.db")
    assert put_back(folder / "one.db", folder / "cloud.db") is None
    assert sorted(path.name for path in folder.iterdir()) == ["cloud.db", "one.db"]
    assert (folder / "cloud.db").stat().st_mode & 0o777 == 0o600


def test_a_copy_of_older_tables_is_brought_up_to_date(folder: Path) -> None:
    from alembic import command
    from alembic.config import Config

    engine = open_writer(folder / "new.db")
    config = Config()
    config.set_main_option("script_location", "cloud.store:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    engine.dispose()
    assert inspect(folder / "new.db").revision == "0001"
    put_back(folder / "new.db", folder / "cloud.db")
    assert inspect(folder / "cloud.db").revision > "0001"


def test_tables_from_before_deposits_had_accounts_are_left_alone_while_one_is_held(cloud: Cloud, folder: Path) -> None:
    Story(cloud, device="sun-battery").until_selected()
    cloud.close()
    with closing(sqlite3.connect(cloud.path)) as connection, connection:
        connection.execute("ALTER TABLE orders DROP COLUMN deposit_held_minor")
        connection.execute("ALTER TABLE orders DROP COLUMN bill_settled")
        connection.execute("UPDATE alembic_version SET version_num = '0004'")
    with pytest.raises(Unavailable, match="1 orders still hold a deposit"):
        open_writer(cloud.path)


def test_nothing_is_overwritten(cloud: Cloud, folder: Path) -> None:
    (folder / "one.db").write_text("mine")
    with pytest.raises(FileExistsError):
        back_up(cloud.path, folder / "one.db")
    assert (folder / "one.db").read_text() == "mine"
    assert len(list(folder.iterdir())) == 1


def test_where_nothing_can_be_written_nothing_is_left(cloud: Cloud, folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        back_up(cloud.path, folder / "no" / "one.db")
    with pytest.raises(FileNotFoundError):
        back_up(folder / "cloud.db", folder / "one.db")
    assert list(folder.iterdir()) == []


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4_096)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(40_960)
        file.write(os.urandom(16_384))


def age(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


def empty_of_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda path: path.write_bytes(b""), Corrupt),
        (lambda path: path.write_bytes(b"not a database at all" * 100), Corrupt),
        (cut, Corrupt),
        (overwrite, Corrupt),
        (empty_of_tables, Corrupt),
        (age, Unavailable),
    ],
    ids=["empty", "garbage", "cut short", "overwritten", "another program's", "a newer program's"],
)
def test_what_is_no_sound_backup_is_not_put_back(
    cloud: Cloud, folder: Path, damage: Damage, error: type[EnergyShareError]
) -> None:
    back_up(cloud.path, folder / "one.db")
    back_up(cloud.path, folder / "cloud.db")
    whole = (folder / "cloud.db").read_bytes()
    damage(folder / "one.db")
    with pytest.raises(error):
        put_back(folder / "one.db", folder / "cloud.db")
    assert (folder / "cloud.db").read_bytes() == whole
    assert sorted(path.name for path in folder.iterdir()) == ["cloud.db", "one.db"]


def test_a_file_that_is_not_there_is_not_put_back(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        put_back(folder / "one.db", folder / "cloud.db")


def test_another_cloud_s_backup_is_not_put_back(cloud: Cloud, folder: Path) -> None:
    signed = grant(cloud.roster["sun"].id, cloud.roster["sun"].grant.body.role, cloud.roster["sun"].key).signed
    change = t.terminals.update().where(t.terminals.c.name == "sun").values(grant_signed=signed)
    cloud.run(lambda work, now: work.unit.execute(change))
    back_up(cloud.path, folder / "one.db")
    with pytest.raises(Corrupt, match="another cloud"):
        put_back(folder / "one.db", folder / "cloud.db", STRANGER_ROOT.public)
    assert put_back(folder / "one.db", folder / "cloud.db") is None


def test_every_restore_keeps_the_database_before_it(cloud: Cloud, folder: Path) -> None:
    back_up(cloud.path, folder / "one.db")
    for second in range(3):
        restore(folder / "one.db", folder / "cloud.db", ROOT.public, "olga", Instant(T0 + second))
    assert len([path for path in folder.iterdir() if path.name.startswith("cloud.db.")]) == 2
    engine = open_reader(folder / "cloud.db")
    assert len(Readers(engine).rows(select(t.operator_acts))) == 1
    engine.dispose()
