"""`python -m benchmarks`: what can be measured, and how long it takes to measure it."""

import json
from dataclasses import asdict

import click

from benchmarks import billing, floor, peer
from benchmarks import device as device_benchmark
from benchmarks import orders as order_benchmark
from benchmarks.voucher import largest_presentable
from energyshare.program import Program, console, table
from energyshare.wire import PRESENTABLE_BYTES_MAX

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=Program, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Measure EnergyShare next to a floor and a peer in the same run (docs/benchmarks.md)."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command()
@click.option("--users", type=click.IntRange(1), multiple=True, default=(1, 64, 256), show_default=True, help="Repeatable.")
@click.option("--seconds", type=click.FloatRange(0.1), default=6.0, show_default=True, help="How long each measurement takes.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often; medians are printed.")
@JSON
def orders(users: tuple[int, ...], seconds: float, rounds: int, as_json: bool) -> None:
    """Measure complete energy orders a second through a real cloud; about three minutes."""
    rows = [asdict(row) for row in order_benchmark.measure(users, seconds, rounds)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    console().print(table(list(rows[0]), [[str(value) for value in row.values()] for row in rows]))


@main.command()
@JSON
def device(as_json: bool) -> None:
    """Measure how long a device takes to check a presentation and open."""
    device_benchmark.main(as_json)


@main.command()
@JSON
def voucher(as_json: bool) -> None:
    """Weigh a voucher with its grant, every number at its largest."""
    found = {"bytes": largest_presentable(), "bytes_max": PRESENTABLE_BYTES_MAX}
    click.echo(json.dumps(found) if as_json else "voucher and grant: {bytes} bytes of at most {bytes_max}".format(**found))


main.add_command(billing.main, "billing")
main.add_command(floor.main, "floor")
main.add_command(peer.main, "peer")

if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
