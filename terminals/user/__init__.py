"""The user terminal: demands, selects, starts, ends, pays; offline for all that needs no cloud."""
