"""Reading devices: receipts and readings, fetched whenever a device can be reached.

A phone that died or a user who went away does not leave an order hanging: what the device signed is reported from here. Only
devices of orders under way are asked.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from energyshare.bodies import ChallengeBody, OpenedEnd
from energyshare.credentials import open_device_body, open_end_receipt, open_grant
from energyshare.errors import EnergyShareError, Rejected
from energyshare.messages import Ended, Reading, Started
from energyshare.values import DeviceId, DeviceState, Instant, OrderId, PartKind, PublicKey, Role, later
from terminals.device.client import DeviceClient, end_session_as_owner
from terminals.device.memory_file import SessionEvidence
from terminals.provider.orders import UNDER_WAY, OrderDocument, ProviderOrders
from terminals.stream import Terminal

logger = logging.getLogger(__name__)

AT_ONCE = 16  # devices asked at the same time
READINGS_PER_MESSAGE = 100
LATE_S = 120  # before the time is up, an end is confirmed with the readings that there are


@dataclass(frozen=True, slots=True)
class Visit:
    """An order whose device is to be asked, and where that is."""

    order_id: OrderId
    document: OrderDocument
    address: str


class DeviceReader:
    """Asks the devices of open orders, and reports what is new."""

    def __init__(self, terminal: Terminal, orders: ProviderOrders, clock: Callable[[], Instant]) -> None:
        self._terminal = terminal
        self._clock = clock
        self._orders = orders
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def visit_all(self) -> None:
        """Ask every device that may have something new, once."""
        await asyncio.gather(*(self._visit(visit) for visit in self._due()))

    def _due(self) -> list[Visit]:
        visits = []
        for key, document in self._orders.open_documents():
            address = self._orders.catalog.addresses.get(DeviceId(document.device_id))
            if address is not None and (not document.ended or document.confirm_until is not None):
                visits.append(Visit(key, document, address))
        return visits

    async def _visit(self, visit: Visit) -> None:
        async with self._slots:
            try:
                if visit.document.release_wanted:
                    await self._release(visit)
                async with DeviceClient(visit.address) as client:
                    sessions, grant = await client.evidence(visit.order_id)
            except EnergyShareError as error:
                logger.debug("the device at %s gave nothing: %s", visit.address, error)
                self._confirm_if_late(visit)
                return
        for session in sessions:
            self._report(visit.order_id, session, grant)

    async def survey(self) -> None:
        """Ask every device for a challenge: its replay memory's number, and whether it is free."""
        await asyncio.gather(*(self._look(device, address) for device, address in self._orders.catalog.addresses.items()))

    async def _look(self, device: DeviceId, address: str) -> None:
        async with self._slots:
            try:
                async with DeviceClient(address) as client:
                    signed, grant = await client.challenge()
                found = open_device_body(ChallengeBody, signed, self._orders.own_device(grant)).body
            except EnergyShareError as error:
                logger.debug("the device at %s gave nothing: %s", address, error)
                return
        if found.device_id != device:
            logger.warning("the device at %s is not the one that the configuration names", address)
            return
        with self._terminal.transaction():
            self._orders.learn_epoch(device, found.epoch)
            if found.state is DeviceState.FREE:
                self._orders.found_free(device)

    def _confirm_if_late(self, visit: Visit) -> None:
        """Confirm an end whose device can't be read, before silence settles it all the same."""
        if visit.document.confirm_until is None or self._clock() < later(Instant(visit.document.confirm_until), -LATE_S):
            return
        with self._terminal.transaction():
            document = self._orders.document(visit.order_id)
            self._orders.confirm(visit.order_id, document)
            self._orders.save(visit.order_id, document)

    async def _release(self, visit: Visit) -> None:
        """End a session whose holder asked to end it from afar."""
        identity = self._terminal.identity
        holder = PublicKey(visit.document.holder_key)
        grant = identity.grant or b""
        try:
            await end_session_as_owner(visit.address, identity.root_key, visit.order_id, identity.key, grant, holder)
        except Rejected as refusal:
            logger.info("the device at %s was not released: %s", visit.address, refusal)

    def _report(self, order_id: OrderId, session: SessionEvidence, grant: bytes) -> None:
        """Keep and report what is new of a session, in one transaction; what does not hold is left."""
        try:
            with self._terminal.transaction():
                document = self._orders.document(order_id)
                if document.state not in UNDER_WAY:
                    return
                if self._orders.keep_start(order_id, document, session.start_receipt, grant):
                    self._terminal.say(order_id, Started(session.start_receipt, grant))
                self._report_readings(order_id, document, session, grant)
                if session.end_receipt is not None and not document.ended:
                    self._report_end(order_id, document, session.end_receipt, grant)
                if document.confirm_until is not None and session.end_receipt is not None:
                    self._orders.confirm(order_id, document)
                self._orders.save(order_id, document)
        except Rejected as refusal:
            logger.warning("a device's evidence does not hold: %s", refusal)

    def _report_readings(self, order_id: OrderId, document: OrderDocument, session: SessionEvidence, grant: bytes) -> None:
        for first in range(0, len(session.readings), READINGS_PER_MESSAGE):
            page = session.readings[first : first + READINGS_PER_MESSAGE]
            new = self._orders.keep_readings(order_id, document, page, grant)
            if new:
                self._terminal.say(order_id, Reading(new, grant))

    def _report_end(self, order_id: OrderId, document: OrderDocument, end_receipt: bytes, grant: bytes) -> None:
        end = self._opened(document, end_receipt, grant)
        self._terminal.journal.add_part(order_id, PartKind.END_RECEIPT, end.receipt.digest, end_receipt)
        self._terminal.say(order_id, Ended(end_receipt, grant))
        document.ended = True
        self._orders.note_charge(end.receipt.body)

    def _opened(self, document: OrderDocument, end_receipt: bytes, grant: bytes) -> OpenedEnd:
        device = open_grant(grant, self._terminal.identity.root_key, Role.DEVICE)
        own = self._terminal.identity.key.public
        return open_end_receipt(end_receipt, device, PublicKey(document.holder_key), own)
