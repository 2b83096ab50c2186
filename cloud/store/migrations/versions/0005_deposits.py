"""Deposits are held in accounts of their own; since when a bill can be disputed is a column."""

import json

import sqlalchemy as sa
from alembic import op

from energyshare.errors import Unavailable

revision = "0005"
down_revision = "0004"

OPEN_DEPOSITS = """
SELECT count(*) FROM orders JOIN offers ON offers.order_id = orders.id AND offers.digest = orders.selected
WHERE orders.hold_minor > 0 AND offers.deposit_minor > 0
"""


def upgrade() -> None:
    """Add the column; holds that are open with a deposit in them end as they began, under the version that made them."""
    still_open = op.get_bind().execute(sa.text(OPEN_DEPOSITS)).scalar()
    if still_open:
        raise Unavailable(f"{still_open} orders still hold a deposit", "let them end under the version before, then upgrade")
    op.add_column("orders", sa.Column("deposit_held_minor", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("orders", sa.Column("bill_settled", sa.BigInteger(), nullable=True))
    billed = sa.text("UPDATE orders SET bill_settled = :settled WHERE id = :id")
    for order_id, aftermath in op.get_bind().execute(sa.text("SELECT id, aftermath FROM orders WHERE aftermath IS NOT NULL")):
        bill = json.loads(aftermath).get("bill")
        if bill:
            op.get_bind().execute(billed, {"id": order_id, "settled": bill["settled"]})


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("orders", "bill_settled")
    op.drop_column("orders", "deposit_held_minor")
