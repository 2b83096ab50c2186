"""Instants as the contract writes them."""

from google.protobuf.timestamp_pb2 import Timestamp

from energyshare.values import Instant


def time_of(instant: int) -> Timestamp:
    """Give an instant as the contract does."""
    return Timestamp(seconds=instant // 1_000_000, nanos=instant % 1_000_000 * 1_000)


def instant_of(time: Timestamp) -> Instant:
    """Take an instant of the contract; one that is not given is the beginning of time."""
    return Instant(time.seconds * 1_000_000 + time.nanos // 1_000)
