"""Questions that wait for an answer, and how many may be asked.

The rule: a nonce is valid once and for 30 seconds; at most 64 wait, and the oldest gives way. Nothing here is durable: after
a restart no old answer fits. DESIGN 7.
"""

from msgspec import Struct

from energyshare.values import Nonce
from terminals.device.clock import MonotonicUs

VALID_US = 30 * 1_000_000
OUTSTANDING_MAX = 64
BURST = 40
PER_SECOND = 20


class Outstanding(Struct, frozen=True):
    """A challenge as signed, and when it was asked."""

    nonce: Nonce
    signed: bytes
    asked_us: MonotonicUs


Challenges = tuple[Outstanding, ...]


def asked(challenges: Challenges, question: Outstanding) -> Challenges:
    """Remember one more challenge, at the cost of the oldest."""
    return (*challenges, question)[-OUTSTANDING_MAX:]


def answered(challenges: Challenges, nonce: Nonce, now_us: MonotonicUs) -> tuple[Challenges, bytes | None]:
    """Spend a nonce: gives the signed challenge that it belongs to, or None when it is unknown, spent or too old."""
    rest = tuple(question for question in challenges if question.nonce != nonce)
    fresh = (q.signed for q in challenges if q.nonce == nonce and now_us - q.asked_us <= VALID_US)
    return rest, next(fresh, None)


class Bucket(Struct, frozen=True):
    """A token bucket, in millionths of a token so that it stays exact."""

    micro_tokens: int
    filled_us: MonotonicUs


def full(now_us: MonotonicUs) -> Bucket:
    """Give a full bucket."""
    return Bucket(BURST * 1_000_000, now_us)


def drawn(bucket: Bucket, now_us: MonotonicUs) -> Bucket | None:
    """Take one token; None when there is none."""
    refill = max(0, now_us - bucket.filled_us) * PER_SECOND
    left = min(BURST * 1_000_000, bucket.micro_tokens + refill) - 1_000_000
    return Bucket(left, now_us) if left >= 0 else None
