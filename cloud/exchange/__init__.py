"""Exchange with the field: charge records and tariffs as OCPI 2.2.1-bugfixes objects. What goes where: docs/exchange.md."""
