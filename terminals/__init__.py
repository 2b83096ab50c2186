"""The terminals: the programs of users, of providers and of their devices, and what they share."""
