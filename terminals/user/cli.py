"""energyshare: the user terminal's program; its commands are in terminals/user/commands, by subject."""

import click

from energyshare.program import Program
from terminals.user import verifying, viewing
from terminals.user.commands import finding, home, money, ocmf, settling, tariffs, using


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="energyshare")
def program() -> None:
    """Find energy near you: rent a battery, use an outlet, get help, pay what was delivered.

    \b
    Examples:
      energyshare wallet top-up 100
      energyshare demand energy --at 22.5431,114.0579 --energy-wh 10000
      energyshare select 1 2           # order 1, offer 2
      energyshare start 1 --device 127.0.0.1:7450
      energyshare end 1 --device 127.0.0.1:7450
      energyshare receipt 1
    """


for subject in (home, finding, using, settling, money, viewing, verifying, tariffs, ocmf):
    subject.register(program)


def main() -> None:
    """Run the program."""
    program(prog_name="energyshare")
