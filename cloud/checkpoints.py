"""Checkpoints as files of a home, one an hour while a node runs; copies belong where who runs the cloud can't write."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cloud.sealing import PlatformKey, seal_checkpoint
from cloud.store.chain import state_heads
from cloud.store.readers import Readers
from energyshare.bodies import CheckpointBody
from energyshare.home import write_atomically
from energyshare.values import Instant, datetime_of

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"
PERIOD_S = 3_600


@asynccontextmanager
async def kept_checkpoints(
    home: Path, readers: Readers, platform: PlatformKey, now: Callable[[], Instant]
) -> AsyncIterator[None]:
    """Write a checkpoint at once and then every hour; what fails is tried again in an hour."""
    task = asyncio.create_task(_keep(home, readers, platform, now))
    try:
        yield
    finally:
        task.cancel()


def write_checkpoint(home: Path, body: CheckpointBody, platform: PlatformKey, to: Path | None = None) -> Path:
    """Sign a checkpoint and write it to a file, in the home unless another is named; raises OSError."""
    path = to or _path_in(home, body.checkpoint_time)
    write_atomically(path, seal_checkpoint(body, platform))
    return path


async def _keep(home: Path, readers: Readers, platform: PlatformKey, now: Callable[[], Instant]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            await loop.run_in_executor(None, lambda: write_checkpoint(home, state_heads(readers, now()), platform))
        except (OSError, SQLAlchemyError):
            logger.exception("the checkpoint can't be written")
        await asyncio.sleep(PERIOD_S)


def _path_in(home: Path, at: Instant) -> Path:
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{datetime_of(at):%Y%m%dT%H%M%SZ}.checkpoint"
