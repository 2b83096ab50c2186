"""The tables. Instants are Unix microseconds, amounts minor units, ids 16 bytes; migrations/ makes them.

Mutable rows are orders, participants, offers, assets, terminals, balances, commissions, tokens and waiting envelopes; every
other table is append-only. The signed parts are kept as they came.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)

metadata = MetaData()


def _id(name: str, *, primary_key: bool = False, nullable: bool = False, index: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary(16), primary_key=primary_key, nullable=nullable, index=index)


def _number(name: str, *, nullable: bool = False, index: bool = False, server_default: str | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable, index=index, server_default=server_default)


def _hash(name: str, *, primary_key: bool = False, nullable: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary(32), primary_key=primary_key, nullable=nullable)


meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", LargeBinary, nullable=False))

accounts = Table(
    "accounts",
    metadata,
    _id("id", primary_key=True),
    Column("role", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    Column("suspended", Boolean, nullable=False, server_default=false()),
    Index("accounts_by_name", "role", "name", unique=True),
)

terminals = Table(
    "terminals",
    metadata,
    _id("id", primary_key=True),
    Column("role", String(16), nullable=False),
    _id("account_id", index=True),
    Column("name", String(64), nullable=False),
    _hash("public_key"),
    Column("certificate", LargeBinary, nullable=False),
    Column("certificate_serial", String(64), nullable=False),
    _number("certificate_not_after"),
    Column("revoked", Boolean, nullable=False),
    Column("grant_body", LargeBinary, nullable=True),
    Column("grant_signed", LargeBinary, nullable=True),
    Column("incarnation", LargeBinary(16), nullable=True),
    _number("last_in"),
    Column("last_in_hash", LargeBinary(32), nullable=False),
    _number("last_out"),
    _number("created"),
)

join_tokens = Table(
    "join_tokens",
    metadata,
    _hash("hash", primary_key=True),
    Column("role", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    _number("expiry"),
    _hash("used_by", nullable=True),
    _id("terminal_id", nullable=True),
)

assets = Table(
    "assets",
    metadata,
    _id("id", primary_key=True),
    _id("provider_id", index=True),
    _id("device_id"),
    Column("station", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("kind", Integer, nullable=False),
    _number("latitude_e7"),
    _number("longitude_e7"),
    Column("connector", Integer, nullable=False),
    _number("power_w"),
    _number("capacity_wh"),
    Column("soc_pct", Integer, nullable=True),
    Column("soh_pct", Integer, nullable=True),
    Column("time_zone", String(64), nullable=False),
    Column("state", Integer, nullable=False),
    _number("version"),
    _hash("tariff_hash"),
    _number("deposit_minor"),
    _number("cell_3", index=True),
    _number("cell_5", index=True),
    _number("cell_7", index=True),
    _id("held_by", nullable=True),
    Column("unknown", Boolean, nullable=False),
    Column("suspended", Boolean, nullable=False, server_default=false()),
)

tariffs = Table("tariffs", metadata, _hash("hash", primary_key=True), Column("body", LargeBinary, nullable=False))

orders = Table(
    "orders",
    metadata,
    _id("id", primary_key=True),
    Column("state", Integer, nullable=False),
    _number("version"),
    _id("account_id"),
    _hash("holder_key"),
    Column("kinds", String(32), nullable=False),
    _number("latitude_e7"),
    _number("longitude_e7"),
    _number("radius_m"),
    _number("energy_wh", nullable=True),
    _number("duration_s", nullable=True),
    Column("service_items", Text, nullable=False),
    _number("needed_by"),
    _number("price_max_minor", nullable=True),
    _number("time_to_live_s"),
    Column("connector", Integer, nullable=True),
    _number("created"),
    Column("wait", String(32), nullable=True),
    _number("due", nullable=True, index=True),
    Column("attempts", Integer, nullable=False),
    _hash("selected", nullable=True),
    _hash("selection_hash", nullable=True),
    _number("hold_minor"),
    _number("deposit_held_minor", server_default="0"),
    _hash("voucher_hash", nullable=True),
    _number("voucher_serial", nullable=True),
    _number("voucher_epoch", nullable=True),
    _number("voucher_not_before_s", nullable=True),
    _number("voucher_not_after_s", nullable=True),
    _hash("start_hash", nullable=True),
    _number("started", nullable=True),
    _number("start_register_wh", nullable=True),
    _number("readings_count", nullable=True),
    _hash("readings_head", nullable=True),
    _number("last_elapsed_s", nullable=True),
    _number("last_register_wh", nullable=True),
    _hash("end_hash", nullable=True),
    _hash("end_request_hash", nullable=True),
    _number("ending_since", nullable=True),
    _number("total_minor"),
    _number("bill_settled", nullable=True),
    Column("work", Text, nullable=True),
    Column("aftermath", Text, nullable=True),
    Index("orders_by_account", "account_id", "state"),
    Index("orders_by_creation", "created"),
)

participants = Table(
    "participants",
    metadata,
    _id("order_id", primary_key=True),
    _id("terminal_id", primary_key=True),
    Column("side", String(16), nullable=False),
    _number("last_in"),
    Column("last_in_hash", LargeBinary(32), nullable=False),
    _number("last_out"),
    sqlite_with_rowid=False,
)

offers = Table(
    "offers",
    metadata,
    _id("order_id", primary_key=True),
    _hash("digest", primary_key=True),
    _id("provider_id"),
    _id("asset_id"),
    _id("device_id"),
    Column("kind", Integer, nullable=False),
    Column("items", Text, nullable=False, server_default=""),
    _number("quote_minor", server_default="0"),
    _hash("issuer_key"),
    _hash("tariff_hash"),
    _number("energy_wh_max"),
    _number("duration_s_max"),
    _number("return_grace_s"),
    _number("deposit_minor"),
    _number("hold_minor"),
    _number("voucher_not_after"),
    _number("expiry"),
    Column("withdrawn", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

order_parts = Table(
    "order_parts",
    metadata,
    _id("order_id", primary_key=True),
    Column("kind", Integer, primary_key=True),
    _hash("digest", primary_key=True),
    _number("number"),
    Column("signed", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

order_events = Table(
    "order_events",
    metadata,
    _id("order_id", primary_key=True),
    Column("number", Integer, primary_key=True),
    _number("at"),
    Column("actor", String(16), nullable=False),
    Column("event", String(32), nullable=False),
    Column("state", Integer, nullable=False),
    Column("note", Text, nullable=False),
    sqlite_with_rowid=False,
)

screenings = Table(
    "screenings",
    metadata,
    _id("order_id", primary_key=True),
    _number("examined"),
    _number("candidates"),
    Column("exclusions", Text, nullable=False),
    Column("nearest", Text, nullable=False),
)

envelopes = Table(
    "envelopes",
    metadata,
    _id("terminal_id", primary_key=True),
    Column("order_id", LargeBinary(16), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

balances = Table(
    "balances",
    metadata,
    Column("account", String(64), primary_key=True),
    _number("debits_minor"),
    _number("credits_minor"),
    _number("held_minor"),
)

transfers = Table(
    "transfers",
    metadata,
    Column("row", Integer, primary_key=True, autoincrement=True),
    Column("id", String(96), nullable=False, unique=True),
    _id("order_id", nullable=True, index=True),
    _number("at"),
    Column("debit", String(64), nullable=False, index=True),
    Column("credit", String(64), nullable=False, index=True),
    _number("amount_minor"),
    Column("flag", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("hold_id", String(96), nullable=True),
    _number("hold_minor"),
)

charge_records = Table(
    "charge_records",
    metadata,
    _id("order_id", primary_key=True),
    _hash("digest", primary_key=True),
    Column("basis", Integer, nullable=False),
    _number("excl_vat_minor"),
    _number("incl_vat_minor"),
    _number("deposit_claimed_minor"),
    _hash("corrects", nullable=True),
    _number("at"),
)

ledger_batches = Table(
    "ledger_batches",
    metadata,
    _id("chain_id", primary_key=True),
    Column("number", BigInteger, primary_key=True),
    _hash("previous"),
    _hash("hash"),
    _number("first_row"),
    _number("last_row"),
    Column("marks", LargeBinary, nullable=False),
    Column("records", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

commissions = Table(
    "commissions",
    metadata,
    _id("account_id", primary_key=True),
    Column("kind", Integer, primary_key=True),
    Column("commission_bp", Integer, nullable=False),
)

parked = Table(
    "parked",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _number("at"),
    _id("terminal_id", nullable=True),
    Column("order_id", LargeBinary(16), nullable=False),
    _number("number"),
    Column("body", LargeBinary, nullable=False),
    Column("error", Text, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _number("at"),
    Column("kind", String(32), nullable=False),
    Column("order_id", LargeBinary(16), nullable=False),
    Column("note", Text, nullable=False),
)

operator_acts = Table(
    "operator_acts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _number("at"),
    Column("operator", String(64), nullable=False),
    Column("act", String(64), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("note", Text, nullable=False),
)
