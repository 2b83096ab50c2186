"""`make demo`: a battery order with the cloud dead at the unlock, and an energy order cut off at its cap.

One cloud, one battery provider, one energy provider, a lock, an outlet and a user, each a process of its own with a home of its
own, over mutual TLS on this machine.
"""

import sys
import time

from tests.cluster import DAY_TARIFF, RENTAL_TARIFF, Cluster, Failed, cluster, free_port, until
from tests.demo.stage import Narrator, finish

PLACE = "22.5431,114.0579"

BATTERIES = """\
[[tariffs]]
name = "rental"
file = "rental.json"

[offers]
poll_s = 0.5

[[sites]]
station = "Corner-Shop"
latitude = "22.5440"
longitude = "114.0585"
time_zone = "Asia/Shanghai"

[[sites.assets]]
name = "lock-1"
kind = "battery"
tariff = "rental"
power_w = 90000
capacity_wh = 2000
soh_pct = 97
deposit = "200.00"
address = "127.0.0.1:{lock}"
"""

OUTLETS = """\
[[tariffs]]
name = "day"
file = "day.json"

[offers]
poll_s = 0.5

[[sites]]
station = "Depot"
latitude = "22.5425"
longitude = "114.0560"
time_zone = "Asia/Shanghai"

[[sites.assets]]
name = "outlet-1"
kind = "outlet"
tariff = "day"
power_w = 600000
connector = "GBT_DC"
address = "127.0.0.1:{outlet}"
"""


def main() -> int:
    """Tell the story; gives the exit status."""
    began = time.monotonic()
    try:
        with cluster() as made:
            return _story(made, began)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1


def _story(made: Cluster, began: float) -> int:
    lock, outlet = free_port(), free_port()
    narrator = Narrator(made, {"cloud": "energyshare-cloud"})
    narrator.say("A cloud runs. Two providers, a battery lock, an outlet and Alice enroll, each with a join token")
    _set_up(made, lock, outlet)
    narrator.types("cloud", "terminal", "list")
    narrator.types("cloud", "asset", "list")

    narrator.say("Alice rents a battery")
    narrator.types("alice", "wallet", "show")
    narrator.types("alice", "demand", "battery", "--at", PLACE, "--energy-wh", "500", "--duration", "2h")
    narrator.types("alice", "select", "1")
    narrator.types("alice", "voucher", "1")

    narrator.say("The cloud dies: SIGKILL. The voucher opens the lock all the same")
    assert made.cloud is not None
    made.cloud.kill()
    narrator.types("alice", "unlock", "1", "--device", f"127.0.0.1:{lock}")
    narrator.note("the battery gives power; Alice walks away with it")

    narrator.say("The cloud is started again, and learns of it")
    made.start_cloud()
    until("the start", lambda: made.user("alice", "sync", "--wait", "1s")[0]["state"] == "ACTIVE")
    time.sleep(4)
    narrator.types("alice", "status", "1")

    narrator.say("Alice brings the battery back")
    narrator.types("alice", "end", "1", "--device", f"127.0.0.1:{lock}")
    narrator.settled("alice", 1)

    narrator.say("Alice charges at an outlet; it cuts off at the 1 kWh that she asked for")
    narrator.types("alice", "demand", "energy", "--at", PLACE, "--energy-wh", "1000", "--max-price", "10")
    narrator.types("alice", "select", "2", "1")
    narrator.types("alice", "start", "2", "--device", f"127.0.0.1:{outlet}")
    until("the cut-off", lambda: _is_cut_off(made), 30)
    narrator.types("alice", "status", "2")
    narrator.types("alice", "end", "2", "--device", f"127.0.0.1:{outlet}")
    narrator.settled("alice", 2)
    narrator.types("alice", "wallet", "show")
    return finish(narrator, began)


def _set_up(made: Cluster, lock: int, outlet: int) -> None:
    made.add_provider("shop", BATTERIES.format(lock=lock), {"rental.json": RENTAL_TARIFF})
    made.add_provider("depot", OUTLETS.format(outlet=outlet), {"day.json": DAY_TARIFF})
    made.enroll_device("lock-1", "shop", "battery", "--power-w", "90000", "--capacity-wh", "2000", "--soh", "97")
    made.enroll_device("outlet-1", "depot", "outlet", "--power-w", "600000")
    made.start_device("lock-1", lock)
    made.start_device("outlet-1", outlet)
    made.add_user("alice", "500")


def _is_cut_off(made: Cluster) -> bool:
    """Say whether the provider has reported that the outlet supplies no more."""
    made.user("alice", "sync", "--wait", "1s")
    return "supply is off" in made.text("energyshare", "status", "2", home="alice")


if __name__ == "__main__":
    sys.exit(main())
