"""The provider terminal: a daemon that answers demands, issues vouchers, confirms ends, serves workers and reads its devices.

`ProviderTerminal`, opened with `opened`, is all of it as a program.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terminals.provider.terminal import ProviderTerminal, opened

__all__ = ["ProviderTerminal", "opened"]


def __getattr__(name: str) -> Any:
    """Load the program only when it is asked for: commands that only show something need no gRPC."""
    if name in __all__:
        from terminals.provider import terminal

        return getattr(terminal, name)
    raise AttributeError(name)
