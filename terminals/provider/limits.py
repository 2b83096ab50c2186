"""What a provider gives at most: to one user, and in one order. Pure."""

from collections.abc import Sequence

from terminals.provider.config import Limits


def too_many(open_holder_keys: Sequence[bytes], holder_key: bytes, limits: Limits) -> bool:
    """Say whether a user has as many orders open here as one may have.

    `open_holder_keys` are those of all open orders but the one that is being awarded: a provider knows its users by nothing
    else, and only from the award on.
    """
    most = limits.open_orders_per_user
    return most is not None and sum(key == holder_key for key in open_holder_keys) >= most


def at_most(amount: int, most: int | None) -> int:
    """Lower an amount to a limit, where there is one."""
    return amount if most is None else min(amount, most)
