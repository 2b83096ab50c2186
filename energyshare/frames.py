"""How much one frame carries; both sides keep to it."""

from collections.abc import Sequence

FRAME_ENVELOPES_MAX = 256
FRAME_BYTES_MAX = 512 * 1024
ACKS_WITHIN_S = 0.05
"""How long acknowledgements wait for a message to leave with: they only let the other side forget, and cost a whole frame
when they leave alone."""


def fitting(envelopes: Sequence[bytes]) -> int:
    """Say how many envelopes the next frame takes: at least one, and as many as its bounds allow."""
    size = 0
    for count, raw in enumerate(envelopes):
        size += len(raw)
        if count == FRAME_ENVELOPES_MAX or (count and size > FRAME_BYTES_MAX):
            return count
    return len(envelopes)
