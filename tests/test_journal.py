"""A terminal's journal: what is committed stays, what is not leaves no trace."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from energyshare.errors import Corrupt
from energyshare.values import Digest, OrderId, PartKind
from terminals.journal import Journal, KeptPart
from terminals.link import Head, Waiting

ORDER = OrderId(b"\x01" * 16)
OTHER = OrderId(b"\x02" * 16)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db")
    yield made
    made.close()


def _write_and_fail(journal: Journal) -> None:
    journal.append(ORDER, 1, b"said")
    journal.put_document("order", ORDER, b"undone")
    raise ZeroDivisionError


def test_what_was_committed_is_there_after_it_is_opened_again(tmp_path: Path) -> None:
    first = Journal(tmp_path / "journal.db")
    with first.transaction():
        incarnation = first.incarnation()
        first.append(ORDER, 1, b"said")
        first.received(ORDER, 1, b"hash")
        first.put_document("order", ORDER, b"body")
        first.add_part(ORDER, PartKind.OFFER, Digest(b"d" * 32), b"signed")
    first.close()
    again = Journal(tmp_path / "journal.db")
    assert again.incarnation() == incarnation
    assert again.head(ORDER) == Head(1, b"hash", 1)
    assert again.waiting() == [Waiting(ORDER, 1, b"said")]
    assert again.document("order", ORDER) == b"body"
    assert again.part(ORDER, PartKind.OFFER) == KeptPart(PartKind.OFFER, Digest(b"d" * 32), 0, b"signed")
    again.close()


def test_a_transaction_that_fails_leaves_no_trace(journal: Journal) -> None:
    with pytest.raises(ZeroDivisionError), journal.transaction():
        _write_and_fail(journal)
    assert journal.head(ORDER) == Head()
    assert journal.waiting() == []
    assert journal.document("order", ORDER) is None


def test_an_attempt_that_fails_is_undone_alone(journal: Journal) -> None:
    with journal.transaction():
        journal.put_document("order", ORDER, b"kept")
        with pytest.raises(ZeroDivisionError), journal.attempt():
            _write_and_fail(journal)
    assert journal.document("order", ORDER) == b"kept"
    assert journal.waiting() == []


def test_numbers_of_both_directions_do_not_disturb_each_other(journal: Journal) -> None:
    journal.append(ORDER, 1, b"a")
    journal.received(ORDER, 1, b"x")
    journal.append(ORDER, 2, b"b")
    journal.received(ORDER, 2, b"y")
    assert journal.head(ORDER) == Head(2, b"y", 2)
    assert journal.head(None) == Head()


def test_beginning_anew_forgets_numbers_and_envelopes_and_keeps_the_rest(journal: Journal) -> None:
    journal.append(ORDER, 1, b"said")
    journal.received(None, 7, b"hash")
    journal.put_document("order", ORDER, b"body")
    journal.add_part(ORDER, PartKind.OFFER, Digest(b"d" * 32), b"signed")
    journal.begin_anew()
    assert (journal.head(ORDER), journal.head(None), journal.waiting()) == (Head(), Head(), [])
    assert journal.document("order", ORDER) == b"body"
    assert journal.part(ORDER, PartKind.OFFER) is not None


@pytest.mark.parametrize(("waits", "last_out"), [(False, 0), (True, 1)])
def test_a_conversation_is_forgotten_only_when_nothing_of_it_waits(journal: Journal, waits: bool, last_out: int) -> None:
    journal.append(ORDER, 1, b"said")
    journal.append(OTHER, 1, b"said")
    journal.acknowledged(ORDER, 0 if waits else 1)
    journal.forget(ORDER)
    assert (journal.head(ORDER).last_out, journal.head(OTHER).last_out) == (last_out, 1)


def test_an_acknowledgement_covers_all_before_it_in_its_conversation_only(journal: Journal) -> None:
    for conversation in (ORDER, None):
        for number in (1, 2, 3):
            journal.append(conversation, number, bytes([number]))
    journal.acknowledged(ORDER, 2)
    assert journal.waiting() == [*(Waiting(None, n, bytes([n])) for n in (1, 2, 3)), Waiting(ORDER, 3, b"\x03")]


def test_a_part_is_kept_once_and_the_latest_reading_is_the_last(journal: Journal) -> None:
    for number in (2, 1, 2):
        journal.add_part(ORDER, PartKind.READING, Digest(bytes([number]) * 32), b"r%d" % number, number)
    assert [part.number for part in journal.parts(ORDER, PartKind.READING)] == [1, 2]
    latest = journal.part(ORDER, PartKind.READING)
    assert latest is not None
    assert latest.signed == b"r2"
    assert journal.parts(OTHER) == []


def test_dropped_parts_are_gone_and_others_stay(journal: Journal) -> None:
    for order_id in (ORDER, OTHER):
        journal.add_part(order_id, PartKind.OFFER, Digest(b"d" * 32), b"signed")
    journal.drop_parts(ORDER)
    assert journal.parts(ORDER) == []
    assert len(journal.parts(OTHER)) == 1


def test_documents_are_replaced_listed_by_key_and_dropped(journal: Journal) -> None:
    journal.put_document("order", b"b", b"1")
    journal.put_document("order", b"a", b"2")
    journal.put_document("order", b"b", b"3")
    journal.put_document("asset", b"a", b"4")
    assert journal.documents("order") == [(b"a", b"2"), (b"b", b"3")]
    journal.drop_document("order", b"a")
    assert journal.documents("order") == [(b"b", b"3")]


def test_two_journals_have_different_incarnations(tmp_path: Path) -> None:
    made = [Journal(tmp_path / name) for name in ("one.db", "other.db")]
    assert made[0].incarnation() != made[1].incarnation()
    for journal in made:
        journal.close()


def test_looking_into_a_journal_that_is_not_there_makes_no_file(tmp_path: Path) -> None:
    looked = Journal(tmp_path / "journal.db", read_only=True)
    assert looked.documents("order") == []
    looked.close()
    assert not (tmp_path / "journal.db").exists()


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(Corrupt, match=str(path)):
        Journal(path)


def test_a_process_killed_within_a_transaction_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    program = f"""
import os, signal
from pathlib import Path
from terminals.journal import Journal
journal = Journal(Path({str(path)!r}))
with journal.transaction():
    journal.put_document("order", b"a", b"committed")
with journal.transaction():
    journal.put_document("order", b"a", b"lost")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=os.getcwd(), check=False)
    assert done.returncode == -signal.SIGKILL
    journal = Journal(path)
    assert journal.document("order", b"a") == b"committed"
    journal.close()
