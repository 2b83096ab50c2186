"""A battery lock or an outlet: opens by a voucher with nobody online, meters, and signs what it did."""
