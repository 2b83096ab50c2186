"""Statements for many rows do what single ones do, in the order of their rows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, insert, select

from cloud.store import tables as t
from cloud.store.prepared import DeleteUpTo, Insert, Lookup, Update

COUNTS = [0, 1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 150]


@pytest.fixture(scope="module")
def engine() -> Engine:
    made = create_engine("sqlite://")
    t.metadata.create_all(made)
    return made


def balance(number: int, debits: int = 0) -> dict[str, object]:
    return {"account": f"user:{number:03}", "debits_minor": debits, "credits_minor": number, "held_minor": 0}


@pytest.mark.parametrize("count", COUNTS)
def test_rows_come_back_as_they_were_inserted(engine: Engine, count: int) -> None:
    with engine.connect() as connection:
        rows = [balance(n) for n in range(count)]
        if rows:
            Insert(t.balances).run(connection, rows)
        found = connection.execute(select(t.balances).order_by(t.balances.c.account)).mappings().all()
        assert [dict(row) for row in found] == rows
        connection.rollback()


@pytest.mark.parametrize("count", COUNTS[1:])
def test_a_lookup_gives_exactly_the_rows_of_its_ids(engine: Engine, count: int) -> None:
    with engine.connect() as connection:
        connection.execute(insert(t.balances), [balance(n) for n in range(200)])
        wanted = [f"user:{n:03}" for n in range(0, 2 * count, 2)]
        found = Lookup(select(t.balances), t.balances.c.account).run(connection, wanted)
        assert sorted(row.account for row in found) == [name for name in wanted if name < "user:200"]
        connection.rollback()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10**15)), min_size=1, max_size=90))
def test_of_several_updates_of_a_row_the_last_one_counts(changes: list[tuple[int, int]]) -> None:
    made = create_engine("sqlite://")
    t.metadata.create_all(made)
    with made.connect() as connection:
        connection.execute(insert(t.balances), [balance(n) for n in range(31)])
        rows = [{"key": f"user:{n:03}", "debits_minor": debits} for n, debits in changes]
        Update(t.balances, key="account").run(connection, rows)
        latest = dict.fromkeys(range(31), 0) | dict(changes)
        found = connection.execute(select(t.balances.c.debits_minor).order_by(t.balances.c.account)).scalars()
        assert list(found) == list(latest.values())


def test_what_is_acknowledged_is_deleted_up_to_its_number_and_nothing_else(engine: Engine) -> None:
    with engine.connect() as connection:
        kept = [
            {"terminal_id": bytes([who]) * 16, "order_id": bytes([order]) * 16, "number": number, "body": b"x"}
            for who in (1, 2)
            for order in (3, 4)
            for number in (1, 2, 3)
        ]
        connection.execute(insert(t.envelopes), kept)
        acks = [
            {"key_terminal": b"\1" * 16, "key": b"\3" * 16, "upto": 2},
            {"key_terminal": b"\2" * 16, "key": b"\4" * 16, "upto": 9},
        ]
        DeleteUpTo(t.envelopes, "number", key_terminal="terminal_id", key="order_id").run(connection, acks)
        left = {(row.terminal_id[0], row.order_id[0], row.number) for row in connection.execute(select(t.envelopes))}
        assert left == {(1, 3, 3)} | {(1, 4, n) for n in (1, 2, 3)} | {(2, 3, n) for n in (1, 2, 3)}
        connection.rollback()
