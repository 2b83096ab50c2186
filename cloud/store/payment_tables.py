"""The tables of payments; migration 0004 makes them. A payment's row changes its state, nothing else of it changes."""

from sqlalchemy import BigInteger, Column, LargeBinary, String, Table, Text

from cloud.store.tables import metadata

payments = Table(
    "payments",
    metadata,
    Column("id", String(96), primary_key=True),
    Column("purpose", String(16), nullable=False),
    Column("account", String(64), nullable=False, index=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
    Column("gateway", String(16), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("gateway_id", String(255), nullable=False),
    Column("refunds", String(96), nullable=True, index=True),
    Column("destination", String(255), nullable=False),
    Column("problem", Text, nullable=False),
)

payout_accounts = Table(
    "payout_accounts",
    metadata,
    Column("provider_id", LargeBinary(16), primary_key=True),
    Column("destination", String(255), nullable=False),
)
