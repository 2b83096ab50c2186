"""What is said of extra work, claims, settlements and disputes in one order."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from cloud.domain.order import Work
from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    ChargeRecordBody,
    EndRefusalBody,
    EndRequestBody,
    NotReturnedBody,
    SerialClosedBody,
    ServiceItem,
    SettlementAnswerBody,
    SettlementRequestBody,
    Verified,
)
from energyshare.charging import extra_hold
from energyshare.messages import (
    Amendment,
    AmendmentAnswer,
    Cancel,
    Dispute,
    EndRefused,
    EndRequest,
    NotReturned,
    SerialClosed,
    Settled,
    SettlementConfirmed,
    SettlementRefused,
    SettlementRequest,
)
from energyshare.records import replace
from energyshare.session import service_bill
from energyshare.signing import SigningKey
from energyshare.tariff import tariff_of
from energyshare.values import (
    DeviceId,
    Digest,
    DurationS,
    Epoch,
    Instant,
    Minor,
    Number,
    Serial,
)
from energyshare.wire import digest_of, open_signed, seal
from tests.cloud.actors import PLATFORM
from tests.cloud.saying import PRICED, TYRE, Saying


@dataclass(repr=False)
class Claiming(Saying):
    """The words of an order about more or less money, and its bills."""

    amendments: list[Verified[AmendmentBody]] = field(default_factory=list)
    asked: Verified[SettlementRequestBody] = field(init=False)

    def refusing_end(self, claimed: int, **changes: Any) -> EndRefused:
        end_hash = self.ended.digest if hasattr(self, "ended") else None
        body = EndRefusalBody(self.order, end_hash, Minor(claimed), "the handle is broken")
        return EndRefused(seal(replace(body, **changes), self.who(self.provider).key).signed)

    def not_returning(self, stated: Instant | None = None, **changes: Any) -> NotReturned:
        body = NotReturnedBody(self.order, stated or self.cloud.now)
        return NotReturned(seal(replace(body, **changes), self.who(self.provider).key).signed)

    def closing(self, **changes: Any) -> SerialClosed:
        """The device's word that it burned the voucher unused."""
        device = self.who(self.device)
        grant = changes.pop("grant", device.grant)
        body = SerialClosedBody(
            DeviceId(device.id), self.order, Serial(self.serial), Epoch(1), Number(1), changes.pop("at", self.cloud.now)
        )
        return SerialClosed(seal(replace(body, **changes), device.key).signed, grant.signed)

    def cancelling(self) -> Cancel:
        return Cancel("CHANGED_MIND")

    def asking_from_afar(self, name: str = "ann2", **changes: Any) -> EndRequest:
        """Another terminal of the account asks to end."""
        body = EndRequestBody(self.order, None, self.cloud.now)
        return EndRequest(seal(replace(body, **changes), self.who(name).key).signed, None, None)

    def proposing(self, *items: ServiceItem, duration_s: int = 0, **changes: Any) -> Amendment:
        """The next amendment, priced by the tariff over what was agreed before."""
        more = items or (TYRE,)
        before, before_s = self.agreed()
        body = AmendmentBody(
            order_id=self.order,
            number=Number(len(self.amendments) + 1),
            items=more,
            duration_s=DurationS(duration_s),
            hold_minor=Minor(0),
        )
        if {item.name for item in more} <= PRICED:
            body = replace(body, hold_minor=extra_hold(self.offer.body, before, before_s, more, duration_s))
        self.amendments.append(seal(replace(body, **changes), self.who(self.provider).key))
        return Amendment(self.amendments[-1].signed)

    def agreed(self) -> tuple[tuple[ServiceItem, ...], int]:
        """Quote and approved amendments, as the cloud has them by now."""
        work = self.cloud.order(self.order).work
        if not work:
            return self.offer.body.items, self.offer.body.duration_s_max
        agreed = msgspec.json.decode(work, type=Work)
        return agreed.items, agreed.duration_s_max

    def answering(self, approved: bool = True, **changes: Any) -> AmendmentAnswer:
        signer: SigningKey = changes.pop("signer", self.who(self.user).key)
        body = AmendmentAnswerBody(self.order, self.amendments[-1].digest, approved)
        return AmendmentAnswer(seal(replace(body, **changes), signer).signed)

    def requesting(self, *items: ServiceItem, duration_s: int = 3_600, **changes: Any) -> SettlementRequest:
        """A request to settle, with the total that items and time come to."""
        done = items or self.items
        total = Minor(0)
        if {item.name for item in done} <= PRICED:
            zone, tariff = self.offer.body.asset.time_zone, tariff_of(self.offer.body.tariff)
            total = service_bill(self.started.body.start_time, zone, duration_s, done, tariff).incl_vat_minor
        body = SettlementRequestBody(self.order, done, DurationS(duration_s), total)
        self.asked = seal(replace(body, **changes), self.who(self.provider).key)
        return SettlementRequest(self.asked.signed)

    def settling(self, disputed: int = 0, **changes: Any) -> SettlementConfirmed | SettlementRefused:
        """The user's answer to it: confirmed, or refused with an amount."""
        signer: SigningKey = changes.pop("signer", self.who(self.user).key)
        body = SettlementAnswerBody(self.order, self.asked.digest, Minor(disputed))
        signed = seal(replace(body, **changes), signer).signed
        return SettlementRefused(signed) if disputed else SettlementConfirmed(signed)

    def disputing(self, amount: int, **changes: Any) -> Dispute:
        """A dispute of the latest charge record."""
        record = digest_of(ChargeRecordBody, self.bills()[-1].charge_record)
        return replace(Dispute(Digest(record), Minor(amount), "it was less"), **changes)

    def bills(self, name: str = "") -> list[Settled]:
        """What a terminal, the user's unless named, was told of this order's charge records."""
        terminal = self.who(name or self.user).id
        told = (e.message for to, e in self.cloud.letters if to == terminal and e.order_id == self.order)
        return [message for message in told if isinstance(message, Settled)]

    def bill(self, name: str = "") -> ChargeRecordBody:
        """The latest charge record, checked under the platform key."""
        return open_signed(ChargeRecordBody, self.bills(name)[-1].charge_record, PLATFORM.public).body
