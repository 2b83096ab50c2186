"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("accounts_by_name", "accounts", ["role", "name"], unique=True)
    op.create_table(
        "assets",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("provider_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("device_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("latitude_e7", sa.BigInteger(), nullable=False),
        sa.Column("longitude_e7", sa.BigInteger(), nullable=False),
        sa.Column("connector", sa.Integer(), nullable=False),
        sa.Column("power_w", sa.BigInteger(), nullable=False),
        sa.Column("capacity_wh", sa.BigInteger(), nullable=False),
        sa.Column("soc_pct", sa.Integer(), nullable=True),
        sa.Column("soh_pct", sa.Integer(), nullable=True),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("tariff_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("deposit_minor", sa.BigInteger(), nullable=False),
        sa.Column("cell_3", sa.BigInteger(), nullable=False),
        sa.Column("cell_5", sa.BigInteger(), nullable=False),
        sa.Column("cell_7", sa.BigInteger(), nullable=False),
        sa.Column("held_by", sa.LargeBinary(length=16), nullable=True),
        sa.Column("unknown", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_assets_cell_3"), "assets", ["cell_3"], unique=False)
    op.create_index(op.f("ix_assets_cell_5"), "assets", ["cell_5"], unique=False)
    op.create_index(op.f("ix_assets_cell_7"), "assets", ["cell_7"], unique=False)
    op.create_index(op.f("ix_assets_provider_id"), "assets", ["provider_id"], unique=False)
    op.create_table(
        "balances",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("debits_minor", sa.BigInteger(), nullable=False),
        sa.Column("credits_minor", sa.BigInteger(), nullable=False),
        sa.Column("held_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "charge_records",
        sa.Column("order_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("basis", sa.Integer(), nullable=False),
        sa.Column("excl_vat_minor", sa.BigInteger(), nullable=False),
        sa.Column("incl_vat_minor", sa.BigInteger(), nullable=False),
        sa.Column("deposit_claimed_minor", sa.BigInteger(), nullable=False),
        sa.Column("corrects", sa.LargeBinary(length=32), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "digest"),
    )
    op.create_table(
        "envelopes",
        sa.Column("terminal_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("order_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("terminal_id", "order_id", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "join_tokens",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("expiry", sa.BigInteger(), nullable=False),
        sa.Column("used_by", sa.LargeBinary(length=32), nullable=True),
        sa.Column("terminal_id", sa.LargeBinary(length=16), nullable=True),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "offers",
        sa.Column("order_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("provider_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("asset_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("device_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("issuer_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tariff_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("energy_wh_max", sa.BigInteger(), nullable=False),
        sa.Column("duration_s_max", sa.BigInteger(), nullable=False),
        sa.Column("return_grace_s", sa.BigInteger(), nullable=False),
        sa.Column("deposit_minor", sa.BigInteger(), nullable=False),
        sa.Column("hold_minor", sa.BigInteger(), nullable=False),
        sa.Column("voucher_not_after", sa.BigInteger(), nullable=False),
        sa.Column("expiry", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "order_events",
        sa.Column("order_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=16), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "order_parts",
        sa.Column("order_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "kind", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("holder_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("kinds", sa.String(length=32), nullable=False),
        sa.Column("latitude_e7", sa.BigInteger(), nullable=False),
        sa.Column("longitude_e7", sa.BigInteger(), nullable=False),
        sa.Column("radius_m", sa.BigInteger(), nullable=False),
        sa.Column("energy_wh", sa.BigInteger(), nullable=True),
        sa.Column("duration_s", sa.BigInteger(), nullable=True),
        sa.Column("service_items", sa.Text(), nullable=False),
        sa.Column("needed_by", sa.BigInteger(), nullable=False),
        sa.Column("price_max_minor", sa.BigInteger(), nullable=True),
        sa.Column("time_to_live_s", sa.BigInteger(), nullable=False),
        sa.Column("connector", sa.Integer(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("wait", sa.String(length=32), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("selected", sa.LargeBinary(length=32), nullable=True),
        sa.Column("selection_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("hold_minor", sa.BigInteger(), nullable=False),
        sa.Column("voucher_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("voucher_serial", sa.BigInteger(), nullable=True),
        sa.Column("voucher_epoch", sa.BigInteger(), nullable=True),
        sa.Column("voucher_not_before_s", sa.BigInteger(), nullable=True),
        sa.Column("voucher_not_after_s", sa.BigInteger(), nullable=True),
        sa.Column("start_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("started", sa.BigInteger(), nullable=True),
        sa.Column("start_register_wh", sa.BigInteger(), nullable=True),
        sa.Column("readings_count", sa.BigInteger(), nullable=True),
        sa.Column("readings_head", sa.LargeBinary(length=32), nullable=True),
        sa.Column("last_elapsed_s", sa.BigInteger(), nullable=True),
        sa.Column("last_register_wh", sa.BigInteger(), nullable=True),
        sa.Column("end_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("end_request_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("ending_since", sa.BigInteger(), nullable=True),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_orders_due"), "orders", ["due"], unique=False)
    op.create_index("orders_by_account", "orders", ["account_id", "state"], unique=False)
    op.create_index("orders_by_creation", "orders", ["created"], unique=False)
    op.create_table(
        "parked",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("terminal_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("order_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "participants",
        sa.Column("order_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("terminal_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("last_in", sa.BigInteger(), nullable=False),
        sa.Column("last_in_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("last_out", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "terminal_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "screenings",
        sa.Column("order_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("examined", sa.BigInteger(), nullable=False),
        sa.Column("candidates", sa.BigInteger(), nullable=False),
        sa.Column("exclusions", sa.Text(), nullable=False),
        sa.Column("nearest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
    )
    op.create_table(
        "tariffs",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_table(
        "terminals",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("account_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("certificate_serial", sa.String(length=64), nullable=False),
        sa.Column("certificate_not_after", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.Column("grant_body", sa.LargeBinary(), nullable=True),
        sa.Column("grant_signed", sa.LargeBinary(), nullable=True),
        sa.Column("incarnation", sa.LargeBinary(length=16), nullable=True),
        sa.Column("last_in", sa.BigInteger(), nullable=False),
        sa.Column("last_in_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("last_out", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_terminals_account_id"), "terminals", ["account_id"], unique=False)
    op.create_table(
        "transfers",
        sa.Column("row", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=96), nullable=False),
        sa.Column("order_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("debit", sa.String(length=64), nullable=False),
        sa.Column("credit", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("flag", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("hold_id", sa.String(length=96), nullable=True),
        sa.Column("hold_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("row"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(op.f("ix_transfers_credit"), "transfers", ["credit"], unique=False)
    op.create_index(op.f("ix_transfers_debit"), "transfers", ["debit"], unique=False)
    op.create_index(op.f("ix_transfers_order_id"), "transfers", ["order_id"], unique=False)
