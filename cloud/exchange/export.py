"""What an export holds: charge detail records with their credits, tariffs, and a word on each that is left out.

A correction becomes a credit of the record that it corrects and a new record, both dated when it was made: so the total costs
add up to what the ledger billed, over everything and over any time.
Source: docs/adr/0008-corrections.md.
"""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from cloud.exchange.parties import Party
from cloud.exchange.records import Cdr, cdr_of, credit_of
from cloud.exchange.tariffs import Fields, tariff_object
from cloud.store.cdrs import Asked, bundle_at, charge_records, is_provider, tariffs_of_assets
from cloud.store.readers import Readers
from energyshare.errors import Reason, Rejected
from energyshare.evidence import code_of, verify_bundle
from energyshare.values import AccountId, Digest, Instant, Kind, OrderId, PublicKey

Read = Callable[[Any], Any]
SERVICE = "SERVICE"


class LeftOut(Struct, frozen=True):
    """A charge record or tariff that is not exported: SERVICE, or the code of what does not hold in its evidence."""

    code: str
    order_id: OrderId | None = None


class Exporter(Struct, frozen=True):
    """Who exports, and by which platform grant and root the evidence is checked."""

    party: Party
    root: PublicKey
    platform_grant: bytes
    with_services: bool = False

    def cdrs(self, readers: Readers, asked: Asked) -> Iterator[Cdr | LeftOut]:
        """Give charge detail records as of one instant, the oldest first; raises Rejected{PARTY_UNKNOWN} for nobody's name."""
        with readers.snapshot() as read:
            _require_provider(read, asked.provider_name)
            for row in charge_records(read, asked):
                yield from self._of_row(read, row)

    def tariffs(self, readers: Readers, provider_name: str, now: Instant) -> Iterator[Fields | LeftOut]:
        """Give the tariffs that assets have now; one for services only is left out. Raises Rejected{PARTY_UNKNOWN}."""
        with readers.snapshot() as read:
            _require_provider(read, provider_name)
            rows = tariffs_of_assets(read, provider_name)
        supplies = {row.hash: row.body for row in rows if row.kind != Kind.SERVICE}
        for body in supplies.values():
            yield tariff_object(body, self.party, now) or LeftOut(SERVICE)
        yield from (LeftOut(SERVICE) for row in rows if row.hash not in supplies)

    def _of_row(self, read: Read, row: Any) -> Iterator[Cdr | LeftOut]:
        order_id = OrderId(row.order_id)
        if row.kind == Kind.SERVICE and not self.with_services:
            yield LeftOut(SERVICE, order_id)
            return
        try:
            records = self._records(read, row)
        except Rejected as refusal:
            yield LeftOut(code_of(refusal), order_id)
            return
        yield from records

    def _records(self, read: Read, row: Any) -> list[Cdr]:
        """Write a record, after the credit of the one that it corrects; raises Rejected unless both follow from evidence."""
        new = self._cdr(read, row, row.digest)
        if row.corrects is None:
            return [new]
        return [credit_of(self._cdr(read, row, row.corrects), Instant(row.at)), new]

    def _cdr(self, read: Read, row: Any, record: Digest) -> Cdr:
        bundle = bundle_at(read, OrderId(row.order_id), record, self.platform_grant)
        return cdr_of(verify_bundle(bundle, self.root), AccountId(row.account_id), self.party)


def _require_provider(read: Read, name: str) -> None:
    if name and not is_provider(read, name):
        raise Rejected(Reason.PARTY_UNKNOWN, name=name)
