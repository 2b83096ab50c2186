"""`make demo-fleet CSV=FILE`: one energy provider with all stations of a file, and one order among them carried to settlement.

The file has the columns station_id, longitude, latitude, charge_points; its coordinates are taken as GCJ-02.
"""

import sys
import time
from pathlib import Path

from tests.cluster import DAY_TARIFF, Cluster, Failed, cluster, free_port, until
from tests.demo.stage import Narrator, finish

PLACE = "22.5431,114.0579"
TOLD_WITHIN_S = 60

CONFIG = """\
[[tariffs]]
name = "day"
file = "day.json"

[fleet]
csv = "{csv}"
datum = "gcj02"
tariff = "day"
time_zone = "Asia/Shanghai"
power_w = 600000
connector = "GBT_DC"
"""


def main(arguments: list[str]) -> int:
    """Tell the story; gives the exit status."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print("usage: make demo-fleet CSV=FILE, with columns station_id, longitude, latitude, charge_points", file=sys.stderr)
        return 2
    began = time.monotonic()
    try:
        with cluster() as made:
            return _story(made, Path(arguments[0]).resolve(), began)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1


def _story(made: Cluster, stations: Path, began: float) -> int:
    narrator = Narrator(made, {"cloud": "energyshare-cloud", "fleet": "energyshare-provider"})
    narrator.say(f"A provider tells the cloud of all stations in {stations.name}")
    made.add_provider("fleet", CONFIG.format(csv=stations), {"day.json": DAY_TARIFF})
    until("the inventory", lambda: made.run("energyshare-provider", "status", home="fleet")["waiting"] == 0, TOLD_WITHIN_S)
    narrator.types("fleet", "status")
    narrator.types("cloud", "status")

    narrator.say("Bob asks for 1 kWh within 2 km")
    made.add_user("bob", "100")
    narrator.types("bob", "demand", "energy", "--at", PLACE, "--radius-km", "2", "--energy-wh", "1000")
    found = made.user("bob", "offers", "1")
    narrator.types("cloud", "demand", "explain", found["id"])

    nearest = min(found["offers"], key=lambda offer: offer["distance_m"])
    narrator.say(f"He takes the nearest, {nearest['asset']}; its outlet is a process here")
    made.enroll_device(nearest["asset"], "fleet", "outlet", "--power-w", "600000")
    port = free_port()
    made.start_device(nearest["asset"], port)
    narrator.types("bob", "select", "1", str(nearest["offer"]))
    narrator.types("bob", "start", "1", "--device", f"127.0.0.1:{port}")
    time.sleep(2)
    narrator.types("bob", "end", "1", "--device", f"127.0.0.1:{port}")
    narrator.settled("bob", 1)
    return finish(narrator, began)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
