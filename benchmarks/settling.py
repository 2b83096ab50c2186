"""How many charge records a second the processor settles: checked confirmations in, bills, ledger rows and records committed.

The orders were brought to their end before, through the same processor, on a database file with synchronous=FULL. The floor is
what no such cloud can leave out: one Ed25519 signature a record, and one durable commit a batch.
"""

import sqlite3
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from energyshare.signing import Label, SigningKey
from energyshare.values import OrderId, OrderState
from tests.cloud.actors import Cloud, found_cloud
from tests.cloud.story import Story

DEVICES = ("sun-outlet", "moon-outlet", "sun-battery")  # an asset has one order at a time, so a batch settles three
BATCH, BATCHES = len(DEVICES), 40


def settled_per_s() -> dict[str, float]:
    """Give charge records a second in batches of three, the floor's, and their ratio; the medians of all batches."""
    with tempfile.TemporaryDirectory(prefix="es-") as folder:
        path = Path(folder) / "cloud.db"
        cloud = Cloud(path, found_cloud(path))
        cloud.driver.execute("PRAGMA synchronous=FULL")
        cloud.all_online()
        cloud.top_up("ann", 10**9, b"b" * 16)
        rate = median(_settle_batch(cloud, first) for first in range(0, BATCH * BATCHES, BATCH))
        cloud.close()
        floor = _floor(Path(folder) / "floor.db")
    return {"settled_per_s": round(rate, 1), "settled_floor_per_s": round(floor, 1), "settled_ratio": round(rate / floor, 3)}


def _settle_batch(cloud: Cloud, first: int) -> float:
    stories = [
        Story(cloud, device=device, order=OrderId((first + number).to_bytes(16, "big")), serial=first + number).until_ending()
        for number, device in enumerate(DEVICES, 1)
    ]
    confirmations = [cloud.inbound(story.provider, story.order, story.confirming()) for story in stories]
    began = perf_counter()
    cloud.processor.process(confirmations, cloud.now)
    took = perf_counter() - began
    assert all(story.state == OrderState.SETTLED for story in stories)
    return BATCH / took


def _floor(path: Path) -> float:
    key, payload = SigningKey.generate(), bytes(600)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE records (payload BLOB, signature BLOB)")
    began = perf_counter()
    for _ in range(BATCHES):
        db.execute("BEGIN IMMEDIATE")
        rows = [(payload, key.sign(Label.CHARGE_RECORD, payload)) for _ in range(BATCH)]
        db.executemany("INSERT INTO records VALUES (?, ?)", rows)
        db.execute("COMMIT")
    took = perf_counter() - began
    db.close()
    return BATCH * BATCHES / took
