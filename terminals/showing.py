"""What both programs show of an order in the same way: its history, the evidence that is here, times, lines that fit."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from rich.table import Table
from rich.text import Text

from energyshare.program import table
from energyshare.values import Instant, PartKind
from terminals.journal import KeptPart
from terminals.telling import part_name
from terminals.timeline import Entry
from terminals.units import clock_text, span_text, time_text


class Wait(Struct, frozen=True):
    """What a time means."""

    what: str
    at: Instant


class Held(Struct, frozen=True):
    """A part of the evidence that is here: how many there are of its kind, and how the latest one's hash begins."""

    kind: PartKind
    count: int
    hash_start: str


def held_parts(parts: Iterable[KeptPart]) -> tuple[Held, ...]:
    """Say which parts of the evidence are here."""
    by_kind: dict[PartKind, list[KeptPart]] = {}
    for part in parts:
        by_kind.setdefault(part.kind, []).append(part)
    return tuple(Held(kind, len(found), found[-1].digest.hex()[:8]) for kind, found in by_kind.items())


def held_text(held: Held) -> str:
    """Write what is here of one kind of part: 4 × reading 3fa2c010…"""
    name = part_name(held.kind)
    return f"{name if held.count == 1 else f'{held.count} × {name}'} {held.hash_start}…"


def held_facts(evidence: Sequence[Held]) -> list[dict[str, Any]]:
    """Give what is here for programs."""
    return [{"part": held.kind.name, "count": held.count, "hash_start": held.hash_start} for held in evidence]


def entry_facts(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Give a history for programs."""
    return [
        {"at_us": entry.at, "who": entry.who, "what": entry.what, "detail": entry.detail, "message": entry.message}
        for entry in entries
    ]


def page_lines(waits: Sequence[Wait], history: Sequence[Entry], evidence: Sequence[Held]) -> Iterator[Text | Table]:
    """Give the lower part of an order's page."""
    yield from _section("Until when", (f"{wait.what} {time_text(wait.at)}" for wait in waits))
    if history:
        yield Text("History", style="bold")
        yield history_table(history)
    yield from _section("Evidence here", (", ".join(map(held_text, evidence)),) if evidence else ())


def history_table(history: Iterable[Entry]) -> Table:
    """Show a history, oldest first."""
    shown = table(("when", "who", ""), ())
    shown.show_header = False
    for entry in history:
        shown.add_row(f"  {time_text(entry.at)}", entry.who, _told(entry))
    return shown


def event_lines(histories: Iterable[tuple[int, Sequence[Entry]]], now: Instant) -> Iterator[Text]:
    """Tell what happened last in the orders of some numbers, the newest first."""
    events = [(entry, place, number) for number, history in histories for place, entry in enumerate(history)]
    for entry, _, number in sorted(events, key=lambda one: (one[0].at, one[1]), reverse=True):
        about = f"{clock_text(entry.at, now)}  {number:>3}  {entry.who:<6}  "
        yield Text.assemble((about, "dim"), _told(entry))


def left_text(at: Instant, now: Instant) -> str:
    """Say how long it is until a time."""
    return f"in {span_text((at - now) // 1_000_000)}" if at > now else "passed"


def fitted(line: Text, width: int) -> Text:
    """Shorten a line to a width."""
    line.truncate(max(1, width), overflow="ellipsis")
    return line


def _told(entry: Entry) -> Text:
    return Text.assemble(entry.what, (f", {entry.detail}" if entry.detail else "", "dim"))


def _section(title: str, lines: Iterable[str]) -> Iterator[Text]:
    told = list(lines)
    if told:
        yield Text(title, style="bold")
    for line in told:
        yield Text(f"  {line}")
