"""Nobody alters, adds or removes a row of the ledger unseen: by hand in the file, and with the chain written anew."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cloud.checkpoints import FOLDER, write_checkpoint
from cloud.domain.checkpoint import START, Batch, LedgerRow, line_of, next_batch, verify_chains
from cloud.sealing import PlatformKey, open_checkpoint, seal_checkpoint
from cloud.store import people
from cloud.store import tables as t
from cloud.store.chain import state_heads
from cloud.store.database import incarnation_of, open_writer
from cloud.store.ledger_rows import batch_row
from energyshare.bodies import CheckpointBody
from energyshare.errors import Rejected
from energyshare.values import Incarnation, OrderId, Role, later
from tests.cloud.actors import PLATFORM, ROOT, STRANGER_ROOT, T0, Cloud, grant
from tests.cloud.story import Story

CHAIN = Incarnation(b"\x07" * 16)
COLUMNS = "id, order_id, at, debit, credit, amount_minor, flag, reason, hold_id, hold_minor"


@pytest.fixture
def settled(cloud: Cloud) -> Cloud:
    """Seven rows: three top-ups, a hold, and those of a settlement with its charge record."""
    Story(cloud).until_settled()
    assert people.check_ledger(cloud.readers).fault == ""
    return cloud


def fault(cloud: Cloud, *checkpoints: CheckpointBody) -> str:
    return people.check_ledger(cloud.readers, checkpoints).fault


def by_hand(cloud: Cloud, *statements: str) -> None:
    with closing(sqlite3.connect(cloud.path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def id_of(cloud: Cloud, row: int) -> str:
    return str(cloud.plain("SELECT id FROM transfers WHERE row = ?", row)[0][0])


def last_row(cloud: Cloud) -> int:
    return int(cloud.plain("SELECT max(row) FROM transfers")[0][0])


def test_a_commit_that_moves_money_adds_one_batch_and_another_adds_none(cloud: Cloud) -> None:
    def batches() -> int:
        return int(cloud.plain("SELECT count(*) FROM ledger_batches")[0][0])

    story, before = Story(cloud).until_authorized(), batches()
    story.by_user(story.starting())
    assert batches() == before
    story.cloud.now = later(story.cloud.now, 3_600)
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    assert batches() == before + 1
    marks, records = cloud.plain("SELECT marks, records FROM ledger_batches ORDER BY number DESC LIMIT 1")[0]
    assert (len(marks), len(records)) == (4 * 5, 32)


@pytest.mark.parametrize("row", range(1, 8))
@pytest.mark.parametrize(
    "change",
    ["at = at + 1", "amount_minor = amount_minor + 1", "reason = 'GIFT'", "order_id = x'77'", "debit = credit, credit = debit"],
)
def test_an_altered_row_is_named(settled: Cloud, row: int, change: str) -> None:
    by_hand(settled, f"UPDATE transfers SET {change} WHERE row = {row}")
    assert fault(settled) == f"row {row} ({id_of(settled, row)}): it was altered"


@pytest.mark.parametrize("row", range(1, 8))
def test_a_removed_row_is_named(settled: Cloud, row: int) -> None:
    by_hand(settled, f"DELETE FROM transfers WHERE row = {row}")
    assert fault(settled) == f"row {row}: it is missing"


def test_an_added_row_is_named(settled: Cloud) -> None:
    values = "'top-up/x/y', NULL, 1, 'funding', 'user:x', 5, 'POSTED', 'TOP_UP', NULL, 0"
    by_hand(settled, f"INSERT INTO transfers ({COLUMNS}) VALUES ({values})")
    assert fault(settled) == f"row {last_row(settled)} (top-up/x/y): no batch holds it: it was added, or its batch removed"


def test_rows_that_changed_places_are_named(settled: Cloud) -> None:
    by_hand(
        settled,
        "UPDATE transfers SET row = -1 WHERE row = 2",
        "UPDATE transfers SET row = 2 WHERE row = 3",
        "UPDATE transfers SET row = 3 WHERE row = -1",
    )
    assert fault(settled) == f"row 2 ({id_of(settled, 2)}): it was altered"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE charge_records SET basis = 2", "it was altered"),
        ("DELETE FROM charge_records", "it is missing"),
        (
            "INSERT INTO charge_records SELECT order_id, zeroblob(32), basis, 0, 0, 0, corrects, at FROM charge_records",
            "no batch holds it: it was added, or its batch removed",
        ),
    ],
)
def test_a_charge_record_that_was_touched_is_named(settled: Cloud, change: str, words: str) -> None:
    digest = settled.plain("SELECT digest FROM charge_records")[0][0]
    by_hand(settled, change)
    named = bytes(32) if "no batch" in words else digest
    assert fault(settled) == f"charge record {named.hex()}: {words}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DELETE FROM ledger_batches WHERE number = 2", "batch 2 of chain"),
        (
            "DELETE FROM ledger_batches WHERE number = (SELECT max(number) FROM ledger_batches)",
            "no batch holds it: it was added, or its batch removed",
        ),
        ("UPDATE ledger_batches SET hash = zeroblob(32) WHERE number = 2", "batch 2 of chain"),
        ("UPDATE ledger_batches SET previous = zeroblob(32) WHERE number = 2", "batch 2 of chain"),
        ("UPDATE ledger_batches SET last_row = last_row + 1 WHERE number = 2", "it was altered"),
    ],
)
def test_a_batch_that_was_touched_is_a_fault(settled: Cloud, change: str, words: str) -> None:
    by_hand(settled, change)
    assert words in fault(settled)


COLUMNS_SINCE = ("deposit_held_minor", "bill_settled")


def rewrite_chain(cloud: Cloud) -> None:
    """Write the whole chain anew over the rows as they are, as one who knows this program would."""
    chain = incarnation_of(cloud.engine)
    cloud.close()
    by_hand(cloud, "DELETE FROM ledger_batches", "UPDATE alembic_version SET version_num = '0002'", "DROP TABLE commissions")
    by_hand(cloud, "DROP TABLE ledger_batches", *(f"ALTER TABLE orders DROP COLUMN {name}" for name in COLUMNS_SINCE))
    with closing(sqlite3.connect(cloud.path)) as connection, connection:
        for name in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'pay%'").fetchall():
            connection.execute(f"DROP TABLE {name[0]}")
    engine = open_writer(cloud.path)
    assert incarnation_of(engine) == chain
    engine.dispose()


def test_rows_written_before_there_were_chains_make_the_first_batch(settled: Cloud) -> None:
    rewrite_chain(settled)
    again = Cloud(settled.path, settled.roster)
    assert people.check_ledger(again.readers).batches == 1
    again.numbers = settled.numbers
    assert fault(again) == ""
    by_hand(again, "DELETE FROM transfers WHERE row = 2")
    assert fault(again) == "row 2: it is missing"
    again.close()


def test_a_chain_that_was_written_anew_is_found_by_a_checkpoint_and_bounded_by_two(settled: Cloud) -> None:
    first = state_heads(settled.readers, settled.now)
    middle = last_row(settled)
    Story(settled, user="ben", device="moon-outlet", order=OrderId(b"\x02" * 16)).until_authorized()
    second = state_heads(settled.readers, later(settled.now, 60))
    assert fault(settled, second, first) == ""
    by_hand(settled, f"UPDATE transfers SET at = at + 1 WHERE row = {middle + 1}")
    assert fault(settled, first).startswith(f"row {middle + 1} ")
    tail = settled.plain("SELECT max(number) FROM ledger_batches")[0][0]
    chain = incarnation_of(settled.engine)
    with settled.engine.begin() as connection:
        before = settled.plain("SELECT number, hash FROM ledger_batches WHERE number = ?", tail - 1)[0]
        cursor = settled.driver.execute(f"SELECT {COLUMNS} FROM transfers WHERE row > ? ORDER BY row", (middle,))
        rows = [dict(zip(COLUMNS.split(", "), row, strict=True)) for row in cursor.fetchall()]
        connection.execute(t.ledger_batches.delete().where(t.ledger_batches.c.number == tail))
        connection.execute(t.ledger_batches.insert().values(batch_row(next_batch(chain, before, last_row(settled), rows, ()))))
    assert fault(settled, first) == ""
    found = fault(settled, second, first)
    assert found.startswith(f"row {middle + 1}: they are not those of the checkpoint of 2026-11-22"), found


def test_rows_that_were_cut_off_with_their_batches_are_found_by_a_checkpoint(settled: Cloud) -> None:
    seen, end = state_heads(settled.readers, settled.now), last_row(settled)
    number = settled.plain("SELECT max(number) FROM ledger_batches")[0][0]
    by_hand(
        settled,
        f"DELETE FROM transfers WHERE row >= (SELECT first_row FROM ledger_batches WHERE number = {number})",
        "DELETE FROM charge_records",
        f"DELETE FROM ledger_batches WHERE number = {number}",
    )
    found = fault(settled, seen)
    assert found.startswith(f"rows 1 to {end}: the checkpoint of 2026-11-22")
    assert f"has batches after {number - 1} of chain" in found


def test_a_checkpoint_is_believed_when_this_cloud_s_platform_key_signed_it(settled: Cloud, tmp_path: Path) -> None:
    body = state_heads(settled.readers, settled.now)
    path = write_checkpoint(tmp_path, body, settled.platform)
    assert path.parent.name == FOLDER
    assert path.stat().st_mode & 0o077 == 0
    assert open_checkpoint(path.read_bytes(), ROOT.public) == body
    assert body.transfers == last_row(settled)
    foreign = PlatformKey(PLATFORM, grant(b"C" * 16, Role.PLATFORM, PLATFORM, root=STRANGER_ROOT).signed)
    issuer = PlatformKey(PLATFORM, grant(b"C" * 16, Role.ISSUER, PLATFORM).signed)
    for data in (b"", b"\xff", seal_checkpoint(body, foreign), seal_checkpoint(body, issuer), path.read_bytes()[:-1]):
        with pytest.raises(Rejected):
            open_checkpoint(data, ROOT.public)


# The chain as values


def row(number: int) -> dict[str, object]:
    names = ("id", "order_id", "at", "debit", "credit", "amount_minor", "flag", "reason", "hold_id", "hold_minor")
    return dict(zip(names, (f"t{number}", b"o", T0, "funding", "user:a", number, "POSTED", "TOP_UP", None, 0), strict=True))


def two_chains() -> tuple[list[Batch], list[LedgerRow]]:
    """Rows 1-2 in one chain, 3 in another, 4-5 in the first again."""
    one = next_batch(CHAIN, (0, START), 2, [row(1), row(2)], ())
    other = next_batch(Incarnation(b"\x08" * 16), (0, START), 3, [row(3)], ())
    two = next_batch(CHAIN, (1, one.hash), 5, [row(4), row(5)], ())
    return [one, other, two], [LedgerRow(n, f"t{n}", line_of(row(n).values())) for n in range(1, 6)]


Touch = Callable[[list[Batch], list[LedgerRow]], object]


@pytest.mark.parametrize(
    ("touch", "words"),
    [
        (lambda batches, rows: None, ""),
        (lambda batches, rows: rows.pop(), "row 5: it is missing"),
        (
            lambda batches, rows: rows.append(LedgerRow(6, "t6", b"")),
            "row 6 (t6): no batch holds it: it was added, or its batch removed",
        ),
        (lambda batches, rows: batches.pop(1), "row 3 (t3): no batch holds it: it was added, or its batch removed"),
        (lambda batches, rows: batches.pop(0), "row 1 (t1): no batch holds it"),
    ],
)
def test_each_node_s_rows_are_linked_in_a_chain_of_their_own(touch: Touch, words: str) -> None:
    batches, rows = two_chains()
    touch(batches, rows)
    found = verify_chains(batches, rows, {})
    assert (found.fault == words) if not words else words in found.fault
