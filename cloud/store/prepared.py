"""Statements that every batch runs: compiled once, and given to the driver with the values of many rows at a time.

SQLAlchemy's own way of running a statement costs several times SQLite's work on it, and a batch of one message runs twenty.
SQLite's driver in turn gives up the interpreter's lock at every row of `executemany`, behind which the other threads wait; so
rows go in statements of 64, 16, 4 and 1. Values go to the driver and come back as they are: a truth value is read as 0 or 1,
which `cloud.store.rows` turns back.
"""

from collections import namedtuple
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    CTE,
    Column,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    column,
    delete,
    insert,
    select,
    tuple_,
    update,
    values,
)

SIZES = (64, 16, 4, 1)  # few, so that the driver keeps what it has prepared

Row = Mapping[str, Any]


class Lookup:
    """A read of the rows whose column is one of some ids, however many."""

    def __init__(self, statement: Select[Any], among: Column[Any]) -> None:
        self._statement = statement
        self._column = among
        self._texts: dict[int, str] = {}
        self._row: Any = namedtuple("Row", statement.selected_columns.keys(), rename=True)  # type: ignore[misc]

    def run(self, connection: Connection, ids: Collection[Any]) -> Sequence[Any]:
        """Give the rows; ids are sorted, the last one repeated up to a power of four."""
        wanted = sorted(ids)
        size = 1 << (((len(wanted) - 1).bit_length() + 1) & ~1)
        if size not in self._texts:
            self._texts[size] = self._text(connection, size)
        cursor = connection.connection.cursor()
        cursor.execute(self._texts[size], (*wanted, *wanted[-1:] * (size - len(wanted))))
        return list(map(self._row._make, cursor.fetchall()))

    def _text(self, connection: Connection, size: int) -> str:
        names = [f"id_{number}" for number in range(size)]
        among = self._column.in_([bindparam(name, type_=self._column.type) for name in names])
        compiled: Any = self._statement.where(among).compile(dialect=connection.dialect)
        assert compiled.positiontup == names, "ids are its only parameters"
        return str(compiled)


class Write:
    """A statement for many rows, all with the same keys; a kind of statement says how it is built for so many."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._compiled: dict[tuple[tuple[str, ...], int], tuple[str, Callable[[Row], tuple[Any, ...]]]] = {}

    def statement(self, keys: Sequence[str], size: int) -> Any:
        """Build it; parameters are named KEY_NUMBER, row after row."""
        raise NotImplementedError

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run it for all rows."""
        keys = tuple(rows[0])
        cursor = connection.connection.cursor()
        for group in _groups(rows):
            text, values_of = self._text(connection, keys, len(group))
            cursor.execute(text, tuple(chain.from_iterable(map(values_of, group))))

    def _text(self, connection: Connection, keys: tuple[str, ...], size: int) -> tuple[str, Callable[[Row], tuple[Any, ...]]]:
        if (keys, size) not in self._compiled:
            compiled = self.statement(keys, size).compile(dialect=connection.dialect)
            named = compiled.positiontup
            order = [name.rpartition("_")[0] for name in named[: len(keys)]]
            assert named == [f"{key}_{number}" for number in range(size) for key in order], "row after row"
            self._compiled[keys, size] = str(compiled), itemgetter(*order)
        return self._compiled[keys, size]

    def _bound(self, key: str, number: int, like: Column[Any]) -> Any:
        return bindparam(f"{key}_{number}", type_=like.type)


class Insert(Write):
    """New rows."""

    def statement(self, keys: Sequence[str], size: int) -> Any:
        """Build it."""
        rows = [{key: self._bound(key, number, self.table.c[key]) for key in keys} for number in range(size)]
        return insert(self.table).values(rows)


class Update(Write):
    """Changes of rows by their key; `keys` names the columns that parameters are compared with. The last row of a key wins."""

    def __init__(self, table: Table, **keys: str) -> None:
        super().__init__(table)
        self._keys = {parameter: table.c[name] for parameter, name in keys.items()}

    def statement(self, keys: Sequence[str], size: int) -> Any:
        """Build it."""
        given = _given({key: self._keys.get(key, self.table.c.get(key)) for key in keys}, size, self._bound)
        changed = {key: given.c[key] for key in keys if key not in self._keys}
        return update(self.table).values(changed).where(*(like == given.c[key] for key, like in self._keys.items()))

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run it for all rows."""
        latest = {tuple([row[key] for key in self._keys]): row for row in rows}
        super().run(connection, list(latest.values()))


class DeleteUpTo(Write):
    """Removal of rows by the first columns of their key, up to a number in its last."""

    def __init__(self, table: Table, upto: str, **keys: str) -> None:
        super().__init__(table)
        self._upto = table.c[upto]
        self._keys = {parameter: table.c[name] for parameter, name in keys.items()}

    def statement(self, keys: Sequence[str], size: int) -> Any:
        """Build it."""
        given = _given({key: self._keys.get(key, self._upto) for key in keys}, size, self._bound)
        old = self.table.alias("old")
        same = [old.c[like.name] == given.c[key] for key, like in self._keys.items()]
        upto = next(key for key in keys if key not in self._keys)
        columns = [*self._keys.values(), self._upto]
        found = select(*(old.c[c.name] for c in columns)).join_from(
            given, old, and_(*same, old.c[self._upto.name] <= given.c[upto])
        )
        return delete(self.table).where(tuple_(*columns).in_(found))


def _given(like: Mapping[str, Any], size: int, bound: Any) -> CTE:
    rows = [tuple(bound(key, number, one) for key, one in like.items()) for number in range(size)]
    return values(*(column(key, one.type) for key, one in like.items()), name="given").data(rows).cte("given")


def _groups(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    done = 0
    while done < len(rows):
        size = next(size for size in SIZES if size <= len(rows) - done)
        yield rows[done : done + size]
        done += size
