"""How our programs end: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.

An error is one line `PROGRAM: error: …`, and what to do about it another, `PROGRAM: hint: …`, both on stderr.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class
from rich.console import Console
from rich.table import Table

from energyshare.errors import Corrupt, EnergyShareError, Rejected, Unavailable

USAGE = 2
ORDER_LISTS = {
    "energyshare-provider": "energyshare-provider order list",
    "energyshare-cloud": "energyshare-cloud order list",
}
"""Where each program lists orders; the user's terminal is what hints speak of otherwise."""
INTERRUPTED = 130


class Program(click.Group):
    """A click group that tells our errors to a person; use it as `@click.group(cls=Program)`."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.add_command(completion_command)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the program; wrong usage is told like any other error, and ends with 2."""
        _complete(self)
        name = extra.get("prog_name") or Path(sys.argv[0]).name
        try:
            status = super().main(*args, **extra | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(USAGE)
        except click.UsageError as error:
            program = error.ctx.find_root().info_name if error.ctx else name
            click.echo(f"{program}: error: {error.format_message()}", err=True)
            if error.ctx is not None:
                click.echo(f"{program}: hint: see {error.ctx.command_path} --help", err=True)
            sys.exit(USAGE)
        except click.ClickException as error:
            click.echo(f"{name}: error: {error.format_message()}", err=True)
            sys.exit(1)
        except click.Abort:
            click.echo(f"{name}: nothing was changed", err=True)
            sys.exit(1)
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except EnergyShareError as error:
            tell(ctx, str(error), hint_for(error))
        except BrokenPipeError:
            raise
        except OSError as error:
            tell(ctx, _os_sentence(error), None)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        sys.exit(1)


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print what makes your shell complete commands, options and order numbers.

    \b
    Examples:
      eval "$(energyshare completion bash)"                 # in ~/.bashrc
      eval "$(energyshare-provider completion zsh)"         # in ~/.zshrc
      energyshare completion fish > ~/.config/fish/completions/energyshare.fish
    """
    root = click.get_current_context().find_root()
    assert root.info_name is not None
    completer = get_completion_class(shell)
    assert completer is not None
    variable = f"_{root.info_name}_COMPLETE".replace("-", "_").upper()  # as click looks for it
    click.echo(completer(root.command, {}, root.info_name, variable).source())


def _complete(group: click.Group) -> None:
    """Have every command take --home and --yes, also where it needs no home or asks nothing, so that scripts may give them."""
    for command in group.commands.values():
        if isinstance(command, click.Group):
            _complete(command)
            continue
        known = {name for param in command.params for name in param.opts}
        for name, is_flag in (("--home", False), ("--yes", True)):
            if name not in known:
                command.params.append(click.Option([name], is_flag=is_flag, expose_value=False, hidden=True))


def console() -> Console:
    """Give where results go: as wide as the terminal, or wide enough where there is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Give a plain table."""
    shown = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        shown.add_row(*row)
    return shown


def count_text(count: int, thing: str) -> str:
    """Write how many there are: 1 reading, 2 readings."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def tell(ctx: click.Context, sentence: str, hint: str | None) -> None:
    """Say an error, and a hint where there is one, under the program's name."""
    program = ctx.find_root().info_name
    click.echo(f"{program}: error: {sentence}", err=True)
    if hint:
        click.echo(f"{program}: hint: {_said_by(program, hint)}", err=True)


def _said_by(program: str | None, hint: str) -> str:
    """Name the program's own command where a hint names the user's."""
    own = ORDER_LISTS.get(program or "")
    return re.sub(r"energyshare (orders|status)\b", own, hint) if own else hint


def hint_for(error: EnergyShareError) -> str | None:
    """Give what to do about an error, where it knows."""
    if isinstance(error, Rejected | Unavailable | Corrupt):
        return error.hint
    hint = getattr(error, "hint", None)
    return hint if isinstance(hint, str) else None


def _os_sentence(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
