"""How envelopes reach the streams of terminals: in this process, until there are several nodes.

The bus only makes it fast. What it drops is found again in the outbox when the terminal's stream opens.
"""
