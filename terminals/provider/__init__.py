"""The provider terminal: a daemon that answers demands, issues vouchers, confirms ends and reads its devices."""
