"""How a command has something done: by the running daemon, or in the journal itself when none runs."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from energyshare.errors import EnergyShareError, Reason, Rejected
from energyshare.values import OrderId
from terminals.identity import Identity, load_identity, utc_now
from terminals.journal import Journal
from terminals.provider.acts import Act, AskLine, Facts
from terminals.provider.control import NotRunning, call
from terminals.provider.documents import OrderDocument, decoded, numbered
from terminals.provider.options import ROLE

LOOK_EVERY_S = 0.2
LINE_WITHIN_S = 2.0  # a screen does not wait longer for a daemon that hangs


def ask(home: Path, act: Act) -> Facts:
    """Have an act done, by the daemon or, when none runs, in the journal. Raises what it was refused with."""
    try:
        return call(home, act)
    except NotRunning:
        facts = _do_offline(home, act)
    click.echo("energyshare-provider: note: no daemon runs; what was said leaves with: energyshare-provider run", err=True)
    return facts


def line_of(home: Path) -> str:
    """Say whether a daemon runs in a home, and whether it has its line to the cloud."""
    try:
        return "connected" if call(home, AskLine(), LINE_WITHIN_S).get("connected") else "not connected to the cloud"
    except NotRunning:
        return "no daemon runs"
    except EnergyShareError:
        return "the daemon does not answer"


@contextmanager
def looking(home: Path) -> Iterator[tuple[Identity, Journal]]:
    """Read a home, also while its daemon runs."""
    identity = load_identity(home, ROLE)
    journal = Journal(home / "journal.db", read_only=True)
    try:
        yield identity, journal
    finally:
        journal.close()


def look(journal: Journal, number: int) -> tuple[OrderId, OrderDocument]:
    """Give an order by its number; raises Rejected{UNKNOWN_ORDER}."""
    order_id = numbered(journal, number)
    body = journal.document("order", order_id)
    assert body is not None
    return order_id, decoded(body)


def watch(journal: Journal, number: int, until: Callable[[OrderDocument], bool], within_s: float) -> bool:
    """Wait until an order has come to something; says whether it did within the time."""
    deadline = time.monotonic() + within_s
    while not until(look(journal, number)[1]):
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_EVERY_S)
    return True


def require_taken(document: OrderDocument, is_taken: bool) -> None:
    """Raise what the cloud refused what was said with, unless it was taken."""
    if not is_taken:
        reason = Reason(document.reason) if document.reason in Reason.__members__ else Reason.WRONG_STATE
        raise Rejected(reason, order=str(document.number))


def _do_offline(home: Path, act: Act) -> Facts:
    from terminals.provider.performing import perform
    from terminals.provider.terminal import opened

    with opened(home, None, utc_now) as terminal:
        return asyncio.run(perform(terminal, act))
