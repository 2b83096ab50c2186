"""The user terminal: demands, selects, starts, ends, pays; offline for all that needs no cloud.

A program uses it as the command line does:

    from terminals.user import UserTerminal, opened
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terminals.user.terminal import UserTerminal as UserTerminal
    from terminals.user.terminal import opened as opened

__all__ = ["UserTerminal", "opened"]


def __getattr__(name: str) -> Any:
    """Load the terminal with all that it needs only when it is asked for: `--help` needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from terminals.user import terminal

    return getattr(terminal, name)
