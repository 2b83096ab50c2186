"""Frames of many streams are checked in few hops; none waits for ever, and a bad one harms no other."""

import asyncio
from typing import Any

import pytest

from cloud.gateway.hops import Hops
from energyshare.errors import Rejected
from energyshare.messages import Withdrawn
from energyshare.values import Digest, Number, OrderId
from energyshare.wire import Envelope, encode_envelope
from tests.cloud.actors import Cloud


def envelope(number: int) -> bytes:
    return encode_envelope(Envelope(OrderId(b"o" * 16), Number(number), Withdrawn(Digest(b"d" * 32))))


@pytest.fixture
def hops(cloud: Cloud) -> Hops:
    return Hops(cloud.checks)


def test_every_frame_is_answered_in_its_order_however_many_wait(cloud: Cloud, hops: Hops) -> None:
    async def story() -> list[list[int]]:
        frames = [[envelope(10 * n + m) for m in range(1, 4)] for n in range(50)]
        opened = await asyncio.gather(*(hops.open(cloud.roster["ann"].peer, frame) for frame in frames))
        return [[inbound.number for inbound in group] for group in opened]

    assert asyncio.run(story()) == [[10 * n + m for m in range(1, 4)] for n in range(50)]


def test_a_frame_that_comes_when_a_hop_has_just_ended_gets_one_of_its_own(cloud: Cloud, hops: Hops) -> None:
    async def story() -> int:
        for number in range(1, 200):
            (inbound,) = await asyncio.wait_for(hops.open(cloud.roster["ann"].peer, [envelope(number)]), 5)
            assert inbound.number == number
        return number

    assert asyncio.run(story()) == 199


def test_a_frame_that_can_not_be_read_fails_alone(cloud: Cloud, hops: Hops) -> None:
    async def story() -> list[Any]:
        frames = [[envelope(1)], [b"\xff\xff"], [envelope(2)]]
        waiting = [hops.open(cloud.roster["ann"].peer, frame) for frame in frames]
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    first, bad, second = asyncio.run(story())
    assert (first[0].number, second[0].number) == (1, 2)
    assert isinstance(bad, Rejected)
