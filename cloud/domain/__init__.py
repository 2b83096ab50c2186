"""What the cloud decides, without I/O, clock or randomness: orders, screening, billing, ledger."""
