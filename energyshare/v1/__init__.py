"""Generated from proto/energyshare/v1; `make proto` writes it."""
