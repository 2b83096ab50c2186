"""One order told step by step, as far as a test needs it."""

from copy import copy
from dataclasses import dataclass
from typing import Any

from energyshare.values import Instant, later
from tests.cloud.claiming import Claiming


@dataclass(repr=False)
class Story(Claiming):
    """An order between a user and the provider of one device."""

    def until_demanded(self, **changes: Any) -> "Story":
        self.by_user(self.demand(**changes))
        return self

    def until_offered(self, **changes: Any) -> "Story":
        self.until_demanded().by_provider(self.offering(**changes))
        return self

    def until_selected(self) -> "Story":
        self.until_offered().by_user(self.selecting())
        return self

    def until_authorized(self) -> "Story":
        self.until_selected().by_provider(self.issuing())
        return self

    def until_active(self) -> "Story":
        self.until_authorized().by_user(self.starting())
        return self

    def until_ending(self, elapsed_s: int = 3_600, energy_wh: int = 2_500) -> "Story":
        self.until_active()
        self.cloud.now = later(self.cloud.now, elapsed_s)
        if self.is_service:
            self.by_provider(self.requesting(duration_s=elapsed_s))
            return self
        self.end(elapsed_s, energy_wh)
        self.by_user(self.asking_to_end())
        return self

    def until_settled(self) -> "Story":
        self.until_ending()
        if self.is_service:
            self.by_user(self.settling())
        else:
            self.by_provider(self.confirming())
        return self

    def until_disputed(self, amount: int = 100) -> "Story":
        self.until_settled().by_user(self.disputing(amount))
        return self

    def until_expired(self) -> "Story":
        """The voucher has run out, and no start was reported within its grace."""
        self.until_authorized()
        self.cloud.pass_s(3_600 + 86_400)
        return self

    def until_late(self, at: Instant | None = None) -> "Story":
        """A start in the voucher's window comes after the order has expired: nothing is held any more."""
        begun = at or self.cloud.now
        self.until_expired().by_user(self.starting(at=begun))
        return self

    @property
    def wait(self) -> str | None:
        wait: str | None = self._row("wait")
        return wait

    def _row(self, column: str) -> Any:
        return self.cloud.plain(f"SELECT {column} FROM orders WHERE id = ?", self.order)[0][0]

    def again(self) -> "Story":
        """Give this story as it stands, to be told on in another way."""
        twin = copy(self)
        twin.readings, twin.amendments = list(self.readings), list(self.amendments)
        return twin

    @property
    def state(self) -> int:
        state: int = self._row("state")
        return state

    def at(self, elapsed_s: int) -> Instant:
        return later(self.started.body.start_time, elapsed_s)
