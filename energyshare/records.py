"""Copies of records with other fields.

The values of this project are msgspec structs, frozen: they are made and copied in C, which in a node under load is worth a
sixth of its processor. `replace` is msgspec's; a type checker sees it as the standard library's, whose fields it checks.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import replace
else:
    from msgspec.structs import replace

__all__ = ["replace"]
