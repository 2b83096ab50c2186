"""The processor's turns: what waits is answered when the node stops, and also when it can't go on."""

import asyncio
from typing import Any

import pytest

from cloud.pump import Pump
from energyshare.errors import Unavailable
from tests.cloud.actors import Cloud


class Broken:
    """A processor whose disk has gone."""

    def process(self, batch: Any, now: Any, *, fire_timers: bool = False) -> Any:
        raise OSError("no space left")


async def asked(processor: Any, calls: int, *, stop: bool) -> tuple[list[Any], int]:
    """Have a pump run calls; gives their answers, and how often the node was told that it can't go on."""
    failed: list[bool] = []
    pump = Pump(processor, lambda outcome: None, timer_grace_s=60, fail=lambda: failed.append(True))
    pump.start()
    waiting = [asyncio.create_task(pump.call(lambda work, now: "done")) for _ in range(calls)]
    await asyncio.sleep(0)
    if stop:
        pump.stop()
    answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
    with pytest.raises(Unavailable):
        await pump.call(lambda work, now: "more") if stop or failed else pump.stop()
    return answers, len(failed)


def test_what_waits_when_the_node_stops_is_done(cloud: Cloud) -> None:
    answers, failed = asyncio.run(asked(cloud.processor, 1_000, stop=True))
    assert (set(answers), failed) == ({"done"}, 0)


def test_a_processor_that_can_not_go_on_leaves_nobody_waiting() -> None:
    answers, failed = asyncio.run(asked(Broken(), 1_000, stop=False))
    assert {type(answer) for answer in answers} == {Unavailable}
    assert failed == 1
