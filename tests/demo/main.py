"""`make demo`: orders of all three kinds, and the ways that they can go.

A battery is unlocked while the cloud is dead; a mixed demand is answered by a battery, an outlet and a helper; the helper
does extra work that the user approves; an outlet cuts off at its cap, and its bill is disputed; an order is cancelled and its
voucher burned at the device. One cloud, three providers, a lock, an outlet and a user, each a process of its own with a home
of its own, over mutual TLS on this machine.
"""

import sys
import time
from typing import Any

from tests.cluster import CALLOUT_TARIFF, DAY_TARIFF, RENTAL_TARIFF, Cluster, Failed, cluster, free_port, until
from tests.demo.stage import Narrator, finish

AT = ("--at", "22.5431,114.0579")

OFFERS = """\
[offers]
poll_s = 0.5

"""

BATTERIES = """\
[[tariffs]]
name = "rental"
file = "rental.json"

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

HELPERS = """\
[[tariffs]]
name = "callout"
file = "callout.json"

[[sites]]
station = "Helpers"
latitude = "22.5410"
longitude = "114.0600"
time_zone = "Asia/Shanghai"

[[sites.assets]]
name = "worker-1"
kind = "service"
tariff = "callout"
device_home = "worker-1"
listen = "127.0.0.1:{worker}"
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
    ports = {name: free_port() for name in ("lock", "outlet", "worker")}
    programs = {"cloud": "energyshare-cloud"} | dict.fromkeys(("shop", "depot", "helpers"), "energyshare-provider")
    narrator = Narrator(made, programs)
    narrator.say("A cloud runs. Three providers, their devices and Alice enroll, each with a join token")
    _set_up(made, ports)
    narrator.types("cloud", "asset", "list")
    _rent_while_the_cloud_is_dead(narrator, f"127.0.0.1:{ports['lock']}")
    _be_helped(narrator, f"127.0.0.1:{ports['worker']}")
    _charge_and_dispute(narrator, f"127.0.0.1:{ports['outlet']}")
    _cancel(narrator, f"127.0.0.1:{ports['outlet']}")
    _verify(narrator)
    narrator.types("alice", "orders")
    narrator.types("alice", "wallet", "show")
    return finish(narrator, began)


def _set_up(made: Cluster, ports: dict[str, int]) -> None:
    made.enroll_provider("helpers")
    made.enroll_device("worker-1", "helpers", "service")
    made.add_provider("shop", OFFERS + BATTERIES.format(**ports), {"rental.json": RENTAL_TARIFF})
    made.add_provider("depot", OFFERS + OUTLETS.format(**ports), {"day.json": DAY_TARIFF})
    made.configure_provider("helpers", OFFERS + HELPERS.format(**ports), {"callout.json": CALLOUT_TARIFF})
    made.start_provider("helpers")
    made.enroll_device("lock-1", "shop", "battery", "--power-w", "90000", "--capacity-wh", "2000", "--soh", "97")
    made.enroll_device("outlet-1", "depot", "outlet", "--power-w", "600000")
    made.start_device("lock-1", ports["lock"])
    made.start_device("outlet-1", ports["outlet"])
    made.add_user("alice", "900")


def _rent_while_the_cloud_is_dead(narrator: Narrator, lock: str) -> None:
    made = narrator.cluster
    narrator.say("Alice rents a battery")
    narrator.types("alice", "demand", "battery", *AT, "--energy-wh", "500", "--duration", "2h")
    narrator.types("alice", "select", "1")
    narrator.types("alice", "voucher", "1")

    narrator.say("The cloud dies: SIGKILL. The voucher opens the lock all the same")
    assert made.cloud is not None
    made.cloud.kill()
    narrator.types("alice", "unlock", "1", "--device", lock)
    narrator.note("the battery gives power; Alice walks away with it")

    narrator.say("The cloud is started again, and learns of it")
    made.start_cloud()
    until("the start", lambda: made.user("alice", "sync", "--wait", "1s")[0]["state"] == "ACTIVE")
    time.sleep(2)
    narrator.types("alice", "status", "1")

    narrator.say("Alice brings the battery back")
    narrator.types("alice", "end", "1", "--device", lock)
    narrator.settled("alice", 1)


def _be_helped(narrator: Narrator, worker: str) -> None:
    made = narrator.cluster
    narrator.say("Her car won't start. A battery, an outlet or a helper would do: one demand, offers of three kinds")
    mixed = ("battery", "energy", "service", *AT, "--energy-wh", "1000", "--duration", "1h", "--item", "jump-start")
    until("offers of three kinds", lambda: _are_online(made, 3))
    narrator.types("alice", "demand", *mixed)
    offers = made.user("alice", "offers", "2")["offers"]
    helper = next(offer["offer"] for offer in offers if offer["kind"] == "SERVICE")

    narrator.say("She takes the helper, who comes; her voucher checks him in")
    narrator.types("alice", "select", "2", str(helper))
    narrator.types("helpers", "job", "list")
    narrator.types("alice", "start", "2", "--device", worker)
    until("the check-in", lambda: _jobs(made)[0]["state"] == "ACTIVE")

    narrator.say("A tyre is flat as well: extra work, which Alice approves first")
    narrator.types("helpers", "job", "add-item", "1", "tyre")
    narrator.types("alice", "amendment", "approve", "2")

    narrator.say("The helper asks for settlement, item by item; Alice confirms")
    until("the approval", lambda: "tyre" in made.text("energyshare-provider", "job", "show", "1", home="helpers"))
    narrator.types("helpers", "job", "settle", "1", "--duration", "20m")
    narrator.types("alice", "confirm", "2", "--yes")
    narrator.settled("alice", 2)


def _charge_and_dispute(narrator: Narrator, outlet: str) -> None:
    made = narrator.cluster
    narrator.say("Alice charges at an outlet; it cuts off at the 1 kWh that she asked for")
    narrator.types("alice", "demand", "energy", *AT, "--energy-wh", "1000", "--max-price", "10")
    narrator.types("alice", "select", "3", "1")
    narrator.types("alice", "start", "3", "--device", outlet)
    until("the cut-off", lambda: _is_cut_off(made), 30)
    narrator.types("alice", "status", "3")
    narrator.types("alice", "end", "3", "--device", outlet)
    narrator.settled("alice", 3)

    narrator.say("The plug was hard to reach: she disputes one yuan of the bill, and the operator rules")
    narrator.types("alice", "dispute", "3", "1.00", "--reason", "the plug was blocked")
    narrator.types("cloud", "dispute", "list")
    order = made.user("alice", "status", "3")["id"]
    narrator.types("cloud", "dispute", "resolve", order, "--charge", "0.40", "--reason", "it was blocked for a while", "--yes")
    until("the ruling", lambda: made.user("alice", "sync", "--wait", "2s")[2]["state"] == "SETTLED")
    narrator.types("alice", "receipt", "3")


def _cancel(narrator: Narrator, outlet: str) -> None:
    narrator.say("She changes her mind with the voucher in hand: the outlet burns it, and what was held is free again")
    narrator.types("alice", "demand", "energy", *AT, "--energy-wh", "1000")
    narrator.types("alice", "select", "4", "1")
    narrator.types("alice", "cancel", "4", "--device", outlet)
    narrator.types("alice", "order", "show", "4")


def _verify(narrator: Narrator) -> None:
    narrator.say("Anyone can recompute a bill from its evidence, with no cloud; a single altered byte is noticed")
    file = narrator.cluster.folder / "order-2.bundle"
    narrator.types("alice", "receipt", "2", "--out", str(file))
    narrator.types("alice", "verify", str(file))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    altered = file.with_name("altered.bundle")
    altered.write_bytes(data)
    narrator.types("alice", "verify", str(altered), status=1)


def _jobs(made: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = made.run("energyshare-provider", "job", "list", home="helpers")
    return found


def _are_online(made: Cluster, providers: int) -> bool:
    terminals = made.operator("terminal", "list")["terminals"]
    return len([one for one in terminals if one["role"] == "provider" and one["online"]]) == providers


def _is_cut_off(made: Cluster) -> bool:
    """Say whether the provider has reported that the outlet supplies no more."""
    made.user("alice", "sync", "--wait", "1s")
    return "supply is off" in made.text("energyshare", "status", "3", home="alice")


if __name__ == "__main__":
    sys.exit(main())
