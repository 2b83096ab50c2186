"""Draws docs/order-states.md from the table that decides (cloud.domain.lifecycle).

python -m docs.order_states            writes the page
python -m docs.order_states --check    exits 1 when the page is not what the table says
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from cloud.domain.inbound import TimerFired
from cloud.domain.lifecycle import SIDES, STALE, TABLE, Effect, Entry
from cloud.domain.order import Wait
from energyshare.values import OrderState

PAGE = Path(__file__).with_name("order-states.md")

INTRODUCTION = """\
# The states of an order

Drawn by `python -m docs.order_states` from `cloud.domain.lifecycle.TABLE`; edit the table, not this page.
"""

LEGEND = """\
Rows are messages with who may send them, columns states; *account* is another terminal of the user's account. A state's name
says where the message may lead; *stays* changes no state; *late* is acknowledged and changes nothing; anything in capitals
behind a cross is the reason of a refusal. An effect may still refuse a message for what it says.
"""

TITLES = {
    "OfferMade": "Offer",
    "SelectionMade": "Selection",
    "VoucherIssued": "Voucher",
    "StartReported": "Started",
    "ReadingsReported": "Reading",
    "EndRequested": "EndRequest",
    "EndReported": "Ended",
    "EndConfirmedBy": "EndConfirmed",
    "EndRefusedBy": "EndRefused",
    "NotReturnedStated": "NotReturned",
    "SerialClosedReported": "SerialClosed",
    "AmendmentProposed": "Amendment",
    "AmendmentAnswered": "AmendmentAnswer",
    "SettlementRequested": "SettlementRequest",
    "SettlementAnswered": "SettlementConfirmed, SettlementRefused",
    "RequestAcknowledged": "acknowledgement of a SettlementRequest",
    "RulingMade": "ruling",
    "TimerFired": "silence",
}
"""Checked messages under the name that they have on the wire."""

WAITS: dict[Wait, tuple[OrderState, str, str]] = {
    Wait.OFFERS: (
        OrderState.DEMANDED,
        "the demand's time to live",
        "`EXPIRED` without an offer; else the wait for the last offer's expiry",
    ),
    Wait.OFFER_EXPIRY: (OrderState.DEMANDED, "the last binding offer's expiry", "`EXPIRED`"),
    Wait.VOUCHER: (
        OrderState.SELECTED,
        "30 s",
        "back to `DEMANDED` while another offer binds, else `EXPIRED`; hold and asset are freed",
    ),
    Wait.START: (
        OrderState.AUTHORIZED,
        "the voucher's not-after + 24 h",
        "`EXPIRED`, or `CANCELLED` if asked for; hold and asset are freed, where it is stays unknown until its provider says",
    ),
    Wait.END_OF_SUPPLY: (
        OrderState.ACTIVE,
        "seconds cap + 24 h",
        "`SETTLED` on the last signed reading; without one on FLAT and minimum price",
    ),
    Wait.RETURN: (
        OrderState.ACTIVE,
        "seconds cap + the offer's grace",
        "`SETTLED`, charged to the caps; the deposit stays held for `NOT_RETURNED`",
    ),
    Wait.NOT_RETURNED: (OrderState.SETTLED, "7 d", "the deposit goes back"),
    Wait.CONFIRMATION: (OrderState.ENDING, "10 min", "`SETTLED` on the end receipt"),
    Wait.SETTLEMENT_REQUEST: (OrderState.ACTIVE, "the quoted time + 7 d", "`CANCELLED`; hold and asset are freed"),
    Wait.SERVICE_ACKNOWLEDGEMENT: (
        OrderState.ENDING,
        "14 d, or until the user's terminal has acknowledged the request",
        "`SETTLED` as requested, at most the accepted quote",
    ),
    Wait.SERVICE_CONFIRMATION: (OrderState.ENDING, "48 h after the acknowledgement", "`SETTLED` as requested"),
    Wait.RULING: (
        OrderState.DISPUTED,
        "14 d",
        "`SETTLED` by the end receipt or the quote; a provider's claim, and what rests on neither, goes back to the user",
    ),
}
"""What is waited for: in which state, by default how long, and what silence means."""

assert set(WAITS) == set(Wait)


def page() -> str:
    """Give the whole page."""
    return "\n".join((INTRODUCTION, diagram(), "## State and message\n", LEGEND, table(), "## Silence\n", waits()))


def diagram() -> str:
    """Draw the ways between states."""
    ways = "\n".join(f"    {start} --> {end}: {', '.join(names)}" for (start, end), names in arrows().items())
    return f"```mermaid\nstateDiagram-v2\n    [*] --> DEMANDED: Demand\n{ways}\n```\n"


def arrows() -> dict[tuple[str, str], list[str]]:
    """Collect the messages that lead from one state to another."""
    found: dict[tuple[str, str], list[str]] = {}
    for state, row in TABLE.items():
        for kind, entry in row.items():
            for end in led_to(state, entry):
                found.setdefault((state.name, end.name), []).append(title(kind))
    return found


def led_to(state: OrderState, entry: Entry) -> Iterator[OrderState]:
    """Give the other states that an entry may lead to."""
    if isinstance(entry, Effect):
        yield from (end for end in entry.to if end is not state)


def table() -> str:
    """Write the table state × message."""
    heads = ["message", *(f"`{state.name}`" for state in TABLE)]
    rows = [[f"{title(kind)} ({senders(kind)})", *(cell(state, TABLE[state][kind]) for state in TABLE)] for kind in SIDES]
    return rows_of(heads, rows)


def waits() -> str:
    """Write the table of what is waited for."""
    rows = [[f"`{wait}`", f"`{state.name}`", due, meaning] for wait, (state, due, meaning) in WAITS.items()]
    return rows_of(["waiting for", "in", "until", "silence means"], rows)


def cell(state: OrderState, entry: Entry) -> str:
    """Say in a word what an entry does."""
    if entry is STALE:
        return "late"
    if isinstance(entry, Effect):
        return ", ".join("stays" if end is state else end.name for end in entry.to)
    return f"✗ {entry}"


def title(kind: type) -> str:
    """Name a message as it is on the wire."""
    return TITLES.get(kind.__name__, kind.__name__)


def senders(kind: type) -> str:
    """Say who may send a message; what nobody sends, the cloud notices by itself."""
    return ", ".join(sorted(SIDES[kind])) or ("the clock" if kind is TimerFired else "the cloud")


def rows_of(heads: list[str], rows: list[list[str]]) -> str:
    """Write a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    if arguments == ["--check"]:
        if PAGE.exists() and PAGE.read_text() == page():
            return 0
        print(f"{PAGE.name} is not what the table says; run: python -m docs.order_states", file=sys.stderr)
        return 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
