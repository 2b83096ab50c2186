"""energyshare: the user terminal's commands."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from energyshare.errors import EnergyShareError, Reason, Rejected, Unavailable
from energyshare.home import lock_home
from energyshare.messages import Demand
from energyshare.program import Program, console, table
from energyshare.values import (
    DurationS,
    EnergyWh,
    Instant,
    Kind,
    Metres,
    Minor,
    Money,
    OrderId,
    Place,
    id_text,
    later,
)
from terminals.user import pages, words
from terminals.user.orders import OPEN

if TYPE_CHECKING:
    from terminals.user.terminal import UserTerminal

HOME = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ENERGYSHARE_HOME",
    default=Path.home() / ".energyshare",
    show_default=True,
    help="Your home directory.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
ORDER = click.argument("order", type=click.IntRange(1), required=False)
WAIT = click.option("--wait", type=words.Duration(), default="10s", show_default=True, help="How long to wait for answers.")
REACH_S = 4.0

out = console()


def now() -> Instant:
    """Read this machine's clock."""
    return Instant(time.time_ns() // 1_000)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="energyshare")
def program() -> None:
    """Find energy near you: rent a battery, use an outlet, pay what was delivered.

    \b
    Examples:
      energyshare wallet top-up 100
      energyshare demand energy --at 22.5431,114.0579 --energy-wh 10000
      energyshare select 1 2           # order 1, offer 2
      energyshare start 1 --device 127.0.0.1:7450
      energyshare end 1 --device 127.0.0.1:7450
      energyshare receipt 1
    """


@program.command("enroll")
@click.option("--cloud", required=True, metavar="HOST:PORT", help="The cloud's enrollment address.")
@click.option("--ca", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The cloud's authority, PEM.")
@click.option("--token-file", required=True, type=click.File(encoding="utf-8"), help="A file with the join token; - for stdin.")
@HOME
@JSON
def enroll_command(cloud: str, ca: Path, token_file: TextIO, home: Path, as_json: bool) -> None:
    """Get your identity; in an enrolled home, renew it.

    \b
    Examples:
      energyshare enroll --cloud cloud.example.org:7444 --ca ca.pem --token-file alice.token
    """
    from terminals.identity import enroll

    with lock_home(home):
        identity = asyncio.run(enroll(home, "user", cloud, ca, token_file.read().strip()))
    if as_json:
        click.echo(json.dumps({"terminal": id_text(identity.subject_id), "account": id_text(identity.owner_id)}))
        return
    out.print(f"Welcome, {identity.name}. Next: energyshare wallet top-up AMOUNT")


@program.command("demand", context_settings={"ignore_unknown_options": False})
@click.argument("kind", type=click.Choice(["battery", "energy"]))
@click.option("--at", required=True, metavar="LAT,LON", help="Where, in degrees; for example 22.5431,114.0579.")
@click.option("--radius-km", type=click.FloatRange(0.001, 200), default=2.0, show_default=True)
@click.option("--energy-wh", type=click.IntRange(1, 10**7), help="Energy wanted, in watt-hours.")
@click.option("--duration", type=words.Duration(), help="Time wanted, as 2h.")
@click.option("--max-price", metavar="AMOUNT", help="Most that you will pay, deposit apart.")
@click.option("--needed-in", type=words.Duration(), default="30m", show_default=True, help="By when it should start.")
@WAIT
@HOME
@JSON
def demand_command(
    kind: str,
    at: str,
    radius_km: float,
    energy_wh: int | None,
    duration: int | None,
    max_price: str | None,
    needed_in: int,
    wait: int,
    home: Path,
    as_json: bool,
) -> None:
    """Say what you need, and see who offers it.

    \b
    Examples:
      energyshare demand energy --at 22.5431,114.0579 --energy-wh 10000
      energyshare demand battery --at -33.8688,151.2093 --radius-km 5 --duration 2h --max-price 20
    """
    place = _place(at)
    with _opened(home) as me:
        demand = Demand(
            kinds=(Kind[kind.upper()],),
            place=place,
            radius_m=Metres(max(1, round(radius_km * 1000))),
            energy_wh=None if energy_wh is None else EnergyWh(energy_wh),
            duration_s=None if duration is None else DurationS(duration),
            service_items=(),
            needed_by_time=later(now(), needed_in),
            price_max_minor=None if max_price is None else _amount(max_price, me),
            time_to_live_s=DurationS(min(3_600, max(1, wait))),
            connector=None,
        )
        order_id = me.demand(demand)
        asyncio.run(_wait_for_offers(me, order_id, wait, live=not as_json))
        pages.print_offers(me, order_id, as_json)
        order = me.order(order_id)
        if order.state in ("REFUSED", "EXPIRED") and not order.offers:
            raise SystemExit(1)


@program.command("offers")
@ORDER
@click.option("--wait", type=words.Duration(), default="0s", show_default=True, help="How long to wait for more.")
@HOME
@JSON
def offers_command(order: int | None, wait: int, home: Path, as_json: bool) -> None:
    """Show an order's offers, nearest first.

    \b
    Examples:
      energyshare offers
      energyshare offers 3 --wait 30s
    """
    with _opened(home, read_only=not wait) as me:
        order_id = me.numbered(order)
        if wait:
            asyncio.run(_wait_for_offers(me, order_id, wait, live=not as_json))
        pages.print_offers(me, order_id, as_json)


@program.command("select")
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="[ORDER] OFFER", required=True)
@WAIT
@YES
@HOME
@JSON
def select_command(numbers: tuple[int, ...], wait: int, yes: bool, home: Path, as_json: bool) -> None:
    """Select an offer: its most is held, and its provider sends the voucher.

    \b
    Examples:
      energyshare select 2          # offer 2 of the only open order
      energyshare select 3 1 --yes  # offer 1 of order 3
    """
    if len(numbers) > 2:
        raise click.UsageError("give an offer, or an order and an offer: energyshare select 3 1")
    with _opened(home) as me:
        order_id = me.numbered(numbers[0] if len(numbers) == 2 else None)
        order = me.order(order_id)
        index = numbers[-1]
        if not as_json and order.state == "DEMANDED" and index <= len(order.offers):
            pages.say_the_most(me, order_id, order, index, yes)
        me.select(order_id, index)
        answered = lambda: me.order(order_id).state != "SELECTED"  # noqa: E731
        asyncio.run(_sync(me, answered, wait))
        pages.print_order(me, order_id, as_json)
        if me.order(order_id).state not in ("SELECTED", "AUTHORIZED", "ACTIVE"):
            raise pages.refusal(me.order(order_id))


@program.command("voucher")
@ORDER
@click.option("--qr", is_flag=True, help="Show it as a QR code.")
@HOME
@JSON
def voucher_command(order: int | None, qr: bool, home: Path, as_json: bool) -> None:
    """Show the voucher: ES1: and its bytes in base45.

    \b
    Examples:
      energyshare voucher
      energyshare voucher 3 --qr
    """
    from base45 import b45encode

    with _opened(home, read_only=True) as me:
        order_id = me.numbered(order)
        presentable = me.order(order_id).presentable
        if presentable is None:
            raise Rejected(Reason.WRONG_STATE, state=me.order(order_id).state)
        text = "ES1:" + b45encode(presentable).decode()
        if as_json:
            click.echo(json.dumps({"order": id_text(order_id), "voucher": text, "bytes": len(presentable)}))
        elif qr:
            import segno

            segno.make(text, error="l", mode="alphanumeric", boost_error=False).terminal(compact=True, border=4)
        else:
            click.echo(text)


@program.command("start")
@ORDER
@click.option("--device", required=True, metavar="HOST:PORT", help="The device in front of you.")
@HOME
@JSON
def start_command(order: int | None, device: str, home: Path, as_json: bool) -> None:
    """Unlock the battery or start the supply; works with nobody online.

    \b
    Examples:
      energyshare start --device 192.168.4.1:7450
      energyshare unlock 3 --device 192.168.4.1:7450
    """
    with _opened(home) as me:
        order_id = me.numbered(order)
        asyncio.run(_act(me, me.start(order_id, device), lambda: not me.has_unsent))
        pages.print_order(me, order_id, as_json)


program.add_command(start_command, "unlock")


@program.command("end")
@ORDER
@click.option("--device", metavar="HOST:PORT", help="The device in front of you; without it its provider ends it from afar.")
@WAIT
@HOME
@JSON
def end_command(order: int | None, device: str | None, wait: int, home: Path, as_json: bool) -> None:
    """End the use: return the battery or stop the supply, and get the bill.

    \b
    Examples:
      energyshare end --device 192.168.4.1:7450
      energyshare end 3   # from afar: the provider ends it at its device
    """
    with _opened(home) as me:
        order_id = me.numbered(order)
        settled = lambda: me.order(order_id).state not in OPEN  # noqa: E731
        asyncio.run(_act(me, me.end(order_id, device), settled, wait))
        pages.print_order(me, order_id, as_json)


@program.command("sync")
@click.option("--wait", type=words.Duration(), default="3s", show_default=True, help="How long to listen for news.")
@HOME
@JSON
def sync_command(wait: int, home: Path, as_json: bool) -> None:
    """Exchange what waits with the cloud.

    \b
    Examples:
      energyshare sync
      energyshare sync --wait 1m
    """
    with _opened(home) as me:
        before = {order_id: order.state for order_id, order in me.orders()}
        open_orders = [order_id for order_id, state in before.items() if state in OPEN]
        moved = lambda: not me.has_unsent and all(me.order(i).state not in OPEN for i in open_orders)  # noqa: E731
        asyncio.run(me.sync(moved, wait))
        me.forget_old_parts()
        pages.print_orders(me, as_json)


@program.command("status")
@ORDER
@HOME
@JSON
def status_command(order: int | None, home: Path, as_json: bool) -> None:
    """Say where an order stands, what it costs so far, and what to type next.

    \b
    Examples:
      energyshare status
      energyshare status 3 --json
    """
    with _opened(home, read_only=True) as me:
        pages.print_order(me, me.numbered(order), as_json)


@program.command("orders")
@HOME
@JSON
def orders_command(home: Path, as_json: bool) -> None:
    """List your orders.

    \b
    Examples:
      energyshare orders
    """
    with _opened(home, read_only=True) as me:
        pages.print_orders(me, as_json)


@program.command("receipt")
@ORDER
@HOME
@JSON
def receipt_command(order: int | None, home: Path, as_json: bool) -> None:
    """Show an order's bill, and whether it follows from the evidence; exit 1 when it does not.

    \b
    Examples:
      energyshare receipt
      energyshare receipt 3 --json
    """
    from energyshare.bodies import ChargeRecordBody
    from energyshare.values import PartKind
    from energyshare.wire import peek
    from terminals.user.payment import prove

    with _opened(home, read_only=True) as me:
        order_id = me.numbered(order)
        part = me.journal.part(order_id, PartKind.CHARGE_RECORD)
        if part is None:
            raise Rejected(Reason.WRONG_STATE, state=me.order(order_id).state)
        fault: EnergyShareError | None = None
        proof = None
        try:
            proof = prove(me.journal, order_id, me.identity.root_key)
        except EnergyShareError as error:
            fault = error
        record = proof.record.body if proof else peek(ChargeRecordBody, part.signed)
        selected = me.order(order_id).selected
        assert selected is not None
        if as_json:
            click.echo(json.dumps(pages.receipt_facts(order_id, record, fault)))
        else:
            for line in words.receipt_lines(order_id, record, me.offer(order_id, selected), proof):
                click.echo(line)
        if fault is not None:
            raise fault


@program.group("wallet")
def wallet_group() -> None:
    """Your money."""


@wallet_group.command("show")
@HOME
@JSON
def wallet_show(home: Path, as_json: bool) -> None:
    """Show what you have, what is held, and the latest movements.

    \b
    Examples:
      energyshare wallet show
    """
    with _opened(home) as me:
        found = asyncio.run(me.wallet())
    if as_json:
        facts = {"available_minor": found.available_minor, "held_minor": found.held_minor, "currency": found.currency}
        click.echo(json.dumps(facts))
        return
    out.print(f"available  [bold]{words.money(found.available_minor, found.currency)}[/]")
    out.print(f"held       {words.money(found.held_minor, found.currency)}")
    rows = [
        (
            words.time_text(Instant(e.entry_time.ToMicroseconds())),
            words.money(e.amount_minor, found.currency),
            e.reason.lower(),
            f"…{id_text(e.order_id)[-6:]}" if e.order_id else "",
        )
        for e in found.entries
    ]
    if rows:
        out.print(table(("time", "amount", "why", "order"), rows))


@wallet_group.command("top-up", context_settings={"ignore_unknown_options": True})  # -5 is an amount, and refused as one
@click.argument("amount")
@HOME
@JSON
def wallet_top_up(amount: str, home: Path, as_json: bool) -> None:
    """Pay in; AMOUNT as 100 or 25.50.

    \b
    Examples:
      energyshare wallet top-up 100
    """
    with _opened(home) as me:
        minor = _amount(amount, me)
        available = asyncio.run(me.top_up(minor))
        currency = me.identity.currency
    if as_json:
        click.echo(json.dumps({"available_minor": available, "currency": currency}))
        return
    out.print(f"Paid in {words.money(minor, currency)}; available: [bold]{words.money(available, currency)}[/]")


@program.group("tariff")
def tariff_group() -> None:
    """Tariffs: price sessions by the rules that the cloud uses."""


@tariff_group.command("price")
@click.argument("tariff", type=click.File("rb"), required=False)
@click.argument("session", type=click.File("rb"), required=False)
@click.option("--batch", type=click.File(encoding="utf-8"), help="JSON lines with id, tariff and session.")
@JSON
def tariff_price(tariff: Any, session: Any, batch: TextIO | None, as_json: bool) -> None:
    """Price an OCPI session by an OCPI tariff; --batch gives a JSON line for each case.

    \b
    Examples:
      energyshare tariff price tariff.json session.json
      energyshare tariff price --batch cases.jsonl
    """
    from energyshare.ocpi import price_case, price_line

    if batch is not None:
        results = [price_line(line) for line in batch if line.strip()]
        for result in results:
            click.echo(json.dumps(result))
        if any("error" in result for result in results):
            raise SystemExit(1)
        return
    if tariff is None or session is None:
        raise click.UsageError("give TARIFF.json and SESSION.json, or --batch CASES.jsonl")
    case = {"id": "", "tariff": _json(tariff), "session": _json(session)}
    priced = price_case(case)
    if as_json:
        click.echo(json.dumps(priced))
    else:
        out.print(f"{priced['excl_vat']} {priced['currency']} without VAT, {priced['incl_vat']} {priced['currency']} with")


def main() -> None:
    """Run the program."""
    program(prog_name="energyshare")


def _opened(home: Path, *, read_only: bool = False) -> Any:
    from terminals.user.terminal import opened

    return opened(home, now, read_only=read_only)


async def _act(me: "UserTerminal", deed: Any, done: Callable[[], bool], wait: float = REACH_S) -> None:
    """Do something at a device, then tell the cloud if it can be reached; what waits is kept otherwise."""
    await deed
    try:
        await me.sync(done, wait)
    except Unavailable as error:
        click.echo(f"energyshare: note: {error}; what happened is kept and goes out with: energyshare sync", err=True)


async def _sync(me: "UserTerminal", done: Callable[[], bool], wait: float) -> None:
    await me.sync(done, wait)


async def _wait_for_offers(me: "UserTerminal", order_id: OrderId, wait: float, *, live: bool) -> None:
    """Wait until every asset that was asked has answered, showing offers as they come."""

    def answered() -> bool:
        order = me.order(order_id)
        told = len(order.offers) + len(order.declined)
        return order.state != "DEMANDED" or (order.candidates is not None and told >= order.candidates)

    if not live or not out.is_terminal:
        await me.sync(answered, wait)
        return
    from rich.live import Live

    with Live(pages.offers_of(me, order_id), console=out, transient=True) as screen:
        await me.sync(answered, wait, lambda: screen.update(pages.offers_of(me, order_id)))


def _place(at: str) -> Place:
    latitude, comma, longitude = at.partition(",")
    try:
        if not comma:
            raise ValueError
        return Place.of_degrees(latitude.strip(), longitude.strip())
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{at!r} is not LAT,LON in degrees, as 22.5431,114.0579", param_hint="--at") from None


def _amount(text: str, me: "UserTerminal") -> Minor:
    try:
        amount = Money.parse(text, me.identity.currency).amount_minor
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if amount <= 0:
        raise Rejected(Reason.AMOUNT_NOT_POSITIVE)
    return amount


def _json(file: Any) -> Any:
    try:
        return json.loads(file.read(), parse_float=str)
    except ValueError as error:
        raise click.BadParameter(f"{file.name} is not JSON: {error}") from None
