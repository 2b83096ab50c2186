"""What the demonstrations share: a narrator that runs commands as a person would, and shows what they print."""

import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console

from tests.cluster import BIN, Cluster, Failed, until

screen = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True, slots=True)
class Narrator:
    """Tells the story of a cluster."""

    cluster: Cluster
    programs: Mapping[str, str]

    def say(self, text: str) -> None:
        """Say what happens next."""
        screen.print(f"\n[bold cyan]▶ {text}[/]")

    def note(self, text: str) -> None:
        """Say what has just happened."""
        screen.print(f"  [dim]{text}[/]")

    def types(self, who: str, *arguments: str, status: int = 0) -> str:
        """Have somebody type a command that ends with a status; shows it with what it prints."""
        program = self.programs.get(who, "energyshare")
        screen.print(f"[bold green]{who}$[/] {program} {shlex.join(arguments)}", soft_wrap=True)
        said = self.cluster.text(program, *arguments, home=who, status=status)
        for line in said.rstrip().splitlines():
            screen.print(f"  {line}", markup=False, soft_wrap=True)
        return said

    def settled(self, who: str, number: int) -> None:
        """Wait until an order is settled and proved; shows its receipt."""
        until(f"order {number} of {who}", lambda: self._is_settled(who, number), 40)
        self.types(who, "receipt", str(number))
        screen.print(f"[bold]  order {number}: SETTLED[/]")

    def _is_settled(self, who: str, number: int) -> bool:
        found = self.cluster.user(who, "status", str(number))
        if found["state"] != "SETTLED":
            self.cluster.user(who, "sync", "--wait", "2s")
            found = self.cluster.user(who, "status", str(number))
        return bool(found["state"] == "SETTLED" and found["proved"])


def finish(narrator: Narrator, began: float) -> int:
    """Check the books; gives the exit status."""
    narrator.say("Each provider reads what it has earned, less what a ruling took back; it is paid out after 72 hours")
    narrator.types("depot", "wallet", "statement", "--from", "2026-01-01", "--to", "2100-01-01")
    narrator.say("The operator checks the books")
    narrator.types("cloud", "order", "list")
    narrator.types("cloud", "ledger", "check")
    narrator.note(f"all done in {time.monotonic() - began:.0f} s, from {BIN}")
    return 0


__all__ = ["Failed", "Narrator", "finish", "screen"]
