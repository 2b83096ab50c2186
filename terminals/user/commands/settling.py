"""Commands that agree on extra work and on what is charged, or dispute it."""

import json
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from energyshare.errors import Reason, Rejected
from energyshare.program import table
from terminals.units import duration_text, items_text, money, plain
from terminals.user import pages
from terminals.user.commands.reaching import amount_of, finish, hear_of, opened_home, tell
from terminals.user.options import HOME, JSON, ORDER, WAIT, YES
from terminals.user.order import DISPUTE_REASON_MAX, AmendmentLine, UserOrder
from terminals.user.words import amendment_text

NUMBER = click.argument("number", type=click.IntRange(1), required=False)
ANSWERS = {None: "waits for you", True: "approved", False: "refused"}


def register(program: click.Group) -> None:
    """Add the commands."""
    for command in (amendment_group, confirm_command, dispute_command):
        program.add_command(command)


@click.group("amendment")
def amendment_group() -> None:
    """Extra work that a provider proposes while a service is under way."""


@amendment_group.command("list")
@ORDER
@HOME
@JSON
def amendment_list(order: int | None, home: Path, as_json: bool) -> None:
    """List the extra work that was proposed, with what it adds to the most that is charged.

    \b
    Examples:
      energyshare amendment list
      energyshare amendment list 3 --json
    """
    with opened_home(home, read_only=True) as me:
        found = me.order(me.numbered(order, waits=_has_amendments))
        currency = me.identity.currency
    if as_json:
        click.echo(json.dumps([_amendment_facts(line) for line in found.amendments]))
        return
    rows = [
        (
            str(line.number),
            escape(plain(items_text(line.items))),
            duration_text(line.duration_s) if line.duration_s else "",
            money(line.hold_minor, currency),
            escape(plain(f"does not hold: {line.fault}")) if line.fault else ANSWERS[line.approved],
        )
        for line in found.amendments
    ]
    columns = ("amendment", "work", "more time", "adds at most", "answer")
    pages.out.print(table(columns, rows) if rows else f"No extra work was proposed in order {found.number}.")


@amendment_group.command("approve")
@ORDER
@NUMBER
@WAIT
@YES
@HOME
@JSON
def amendment_approve(order: int | None, number: int | None, wait: int, yes: bool, home: Path, as_json: bool) -> None:
    """Approve extra work; what it adds is held in your wallet.

    \b
    Examples:
      energyshare amendment approve
      energyshare amendment approve 3 1   # amendment 1 of order 3
    """
    _answer(order, number, wait, home, as_json, approve=True, ask=not (yes or as_json))


@amendment_group.command("refuse")
@ORDER
@NUMBER
@WAIT
@HOME
@JSON
def amendment_refuse(order: int | None, number: int | None, wait: int, home: Path, as_json: bool) -> None:
    """Refuse extra work; the service goes on as agreed.

    \b
    Examples:
      energyshare amendment refuse
      energyshare amendment refuse 3 1   # amendment 1 of order 3
    """
    _answer(order, number, wait, home, as_json, approve=False)


@click.command("confirm")
@ORDER
@click.option("--dispute", "disputed", metavar="AMOUNT", help="Confirm all but this much, which the operator rules on.")
@WAIT
@YES
@HOME
@JSON
def confirm_command(order: int | None, disputed: str | None, wait: int, yes: bool, home: Path, as_json: bool) -> None:
    """Confirm what is asked for a service, and pay it.

    \b
    Examples:
      energyshare confirm
      energyshare confirm 3 --yes
      energyshare confirm 3 --dispute 25.00   # pay all but 25.00
    """
    with opened_home(home) as me:
        hear_of(me, _waits_for_settlement, wait)
        order_id = me.numbered(order, waits=_waits_for_settlement)
        amount = None if disputed is None else amount_of(disputed, me)
        if not as_json:
            _show_settlement(me.order(order_id), me.identity.currency)
        if amount is None:
            if pages.out.is_terminal and not yes and not as_json:
                click.confirm("Pay it?", default=True, abort=True)
            me.confirm(order_id)
        else:
            me.refuse(order_id, amount)
        tell(me, lambda: me.order(order_id).state != "ENDING" or bool(me.order(order_id).refused), wait)
        finish(me, order_id, as_json)


@click.command("dispute")
@click.argument("given", nargs=-1, required=True, metavar="[ORDER] AMOUNT")
@click.option("--reason", required=True, metavar="TEXT", help="What is wrong, for the provider and the operator.")
@WAIT
@HOME
@JSON
def dispute_command(given: tuple[str, ...], reason: str, wait: int, home: Path, as_json: bool) -> None:
    """Dispute an amount of a bill within 72 hours; it is held back from the provider until the operator has ruled.

    \b
    Examples:
      energyshare dispute 3 12.50 --reason "the outlet stopped half way"
    """
    number = _dispute_order(given)
    if not 1 <= len(reason) <= DISPUTE_REASON_MAX:
        raise click.BadParameter(f"give 1 to {DISPUTE_REASON_MAX} characters", param_hint="--reason")
    with opened_home(home) as me:
        order_id = me.numbered(number)
        me.dispute(order_id, amount_of(given[-1], me), reason)
        tell(me, lambda: not me.has_unsent, wait)
        finish(me, order_id, as_json)


def _answer(
    order: int | None, number: int | None, wait: int, home: Path, as_json: bool, *, approve: bool, ask: bool = False
) -> None:
    with opened_home(home) as me:
        hear_of(me, _waits_for_amendment, wait)
        order_id = me.numbered(order, waits=_waits_for_amendment)
        line = _waiting(me.order(order_id), number)
        if ask:
            _ask_for(line, me.identity.currency)
        me.answer_amendment(order_id, line.number, approve)
        tell(me, lambda: not me.has_unsent, wait)
        finish(me, order_id, as_json)


def _waits_for_amendment(order: UserOrder) -> bool:
    return order.waiting_amendment is not None


def _waits_for_settlement(order: UserOrder) -> bool:
    return order.waiting_settlement is not None


def _waiting(order: UserOrder, number: int | None) -> AmendmentLine:
    """Give the amendment to answer; raises Rejected{AMENDMENT_UNKNOWN} when it does not wait."""
    line = order.waiting_amendment
    if line is None or number not in (None, line.number):
        raise Rejected(Reason.AMENDMENT_UNKNOWN, **({} if number is None else {"number": str(number)}))
    return line


def _ask_for(line: AmendmentLine, currency: str) -> None:
    """Say what extra work adds at most; a person at a terminal is asked."""
    pages.say(f"Amendment {line.number}: {amendment_text(line, currency)}.")
    if pages.out.is_terminal:
        click.confirm("Approve it?", default=True, abort=True)


def _dispute_order(given: tuple[str, ...]) -> int | None:
    """Read the order's number, where one is given before the amount."""
    if len(given) > 2 or (len(given) == 2 and not given[0].isdecimal()):
        raise click.UsageError("give an amount, or an order and an amount: energyshare dispute 3 12.50 --reason TEXT")
    return int(given[0]) if len(given) == 2 else None


def _show_settlement(order: UserOrder, currency: str) -> None:
    """Show what is asked, item by item, and what it comes to as computed here."""
    asked = order.waiting_settlement
    if asked is None:
        return
    for item in asked.items:
        pages.say(f"  {item.quantity} × {plain(item.name)}")
    pages.say(f"  {duration_text(asked.duration_s)} of work")
    pages.say("asked for: ", (money(asked.total_minor, currency), "bold"), ", with VAT")
    if asked.fault:
        pages.say(f"This is not what was agreed: {plain(asked.fault)}")
    elif asked.bill_minor is not None and asked.bill_minor > asked.total_minor:
        pages.say(f"By the tariff it would be {money(asked.bill_minor, currency)}; the provider asks for less.")


def _amendment_facts(line: AmendmentLine) -> dict[str, Any]:
    return {
        "amendment": line.number,
        "items": {item.name: item.quantity for item in line.items},
        "duration_s": line.duration_s,
        "hold_minor": line.hold_minor,
        "approved": line.approved,
        "fault": line.fault,
    }


def _has_amendments(order: UserOrder) -> bool:
    return bool(order.amendments)
