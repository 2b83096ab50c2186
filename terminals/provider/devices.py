"""Reading devices and workers: receipts and readings, fetched whenever a device can be reached.

A phone that died or a user who went away does not leave an order hanging: what the device signed is reported from here, ends
are answered, vouchers that were called off are burned. Devices of orders under way are asked often; those of orders that were
closed or settled without an end now and then, as a receipt that comes late still counts.
"""

import asyncio
import logging
from collections.abc import Callable

from energyshare.bodies import ChallengeBody, VoucherBody
from energyshare.credentials import open_device_body
from energyshare.errors import EnergyShareError, Reason, Rejected
from energyshare.messages import Ended, Reading, SerialClosed, Started
from energyshare.values import DeviceId, DeviceState, Instant, Kind, OrderId, PublicKey, later
from energyshare.wire import peek
from terminals.device.client import DeviceClient, close_voucher_as_owner, end_session_as_owner
from terminals.device.memory_file import SessionEvidence
from terminals.journal import PARTS_KEPT_S
from terminals.provider.documents import OrderDocument
from terminals.provider.orders import ProviderOrders
from terminals.stream import Terminal

logger = logging.getLogger(__name__)

AT_ONCE = 16  # devices asked at the same time
READINGS_PER_MESSAGE = 100
CLOCKS_APART_S = 300  # how far a device's clock may be behind, so that a voucher opens it a little longer
NEVER_OPENS = (Reason.VOUCHER_USED, Reason.VOUCHER_EPOCH, Reason.VOUCHER_SERIAL)
"""Why a device burns no voucher that can't open it anyway, or has opened it."""


class DeviceReader:
    """Asks the devices of orders, and reports what is new."""

    def __init__(self, terminal: Terminal, orders: ProviderOrders, clock: Callable[[], Instant]) -> None:
        self._terminal = terminal
        self._clock = clock
        self._orders = orders
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def visit_all(self) -> None:
        """Ask every device of an order under way, once, and do what time asks for."""
        await self._visit_index("under-way")

    async def survey(self) -> None:
        """Ask every device for a challenge: its replay memory's number, and whether it is free; then those left behind."""
        await asyncio.gather(*(self._look(device, address) for device, address in self._orders.stock.addresses.items()))
        await self._visit_index("left-behind")

    async def _visit_index(self, index: str) -> None:
        orders = list(self._orders.book.indexed(index))
        await asyncio.gather(*(self._attend(order_id, document) for order_id, document in orders))

    async def _attend(self, order_id: OrderId, document: OrderDocument) -> None:
        """See to one order: burn, release, read, and answer what is due."""
        async with self._slots:
            for digest in document.burn:
                await self._burn(order_id, digest)
            address = self._orders.stock.addresses.get(DeviceId(document.device_id))
            is_over = document.looked_through or (document.ended and document.confirm_until is None)
            looked = address is not None and not is_over and await self._visit(order_id, document, address)
        self._do_due(order_id, looked)

    async def _visit(self, order_id: OrderId, document: OrderDocument, address: str) -> bool:
        """Read a device about an order; says whether it answered."""
        try:
            if document.release_wanted:
                await self._release(order_id, document, address)
            async with DeviceClient(address) as client:
                sessions, grant = await client.evidence(order_id)
                closed = () if sessions or document.started else await client.closed_serials(order_id)
        except EnergyShareError as error:
            logger.debug("the device at %s gave nothing: %s", address, error)
            return False
        for session in sessions:
            if _is_news(self._orders.document(order_id), session):
                self._report(order_id, session, grant)
        for statement in closed:
            self._report_closed(order_id, statement, grant)
        return True

    async def _release(self, order_id: OrderId, document: OrderDocument, address: str) -> None:
        """End a session whose user asked to end it from afar, or a worker's that is done."""
        identity = self._terminal.identity
        try:
            holder = PublicKey(document.holder_key)
            await end_session_as_owner(address, identity.root_key, order_id, identity.key, identity.grant or b"", holder)
        except Rejected as refusal:
            logger.info("the device at %s was not released: %s", address, refusal)

    async def _burn(self, order_id: OrderId, digest: bytes) -> None:
        """Have a device void a voucher; one that was started keeps its session."""
        signed = self._orders.sessions.signed_voucher(order_id, digest)
        address = self._orders.stock.addresses.get(peek(VoucherBody, signed).device_id)
        if address is None:
            return
        identity = self._terminal.identity
        presentable = self._orders.awards.presentable(signed)
        try:
            burned = await close_voucher_as_owner(address, identity.root_key, presentable, identity.key, identity.grant or b"")
        except EnergyShareError as error:
            logger.info("the device at %s burned no voucher: %s", address, error)
            if isinstance(error, Rejected) and error.reason in NEVER_OPENS:
                self._keep_unburned(order_id, digest)
            return
        self._report_closed(order_id, burned.statement, burned.device_grant)

    def _keep_unburned(self, order_id: OrderId, digest: bytes) -> None:
        with self._orders.changing(order_id) as document:
            document.burn = [other for other in document.burn if other != digest]

    def _report_closed(self, order_id: OrderId, statement: bytes, grant: bytes) -> None:
        """Keep that a voucher is void, and report it once where the order waits for it."""
        try:
            with self._orders.changing(order_id) as document:
                if self._orders.sessions.keep_closed(order_id, document, statement, grant):
                    self._orders.book.tell(order_id, document, SerialClosed(statement, grant), "closed")
        except Rejected as refusal:
            logger.warning("a device's statement does not hold: %s", refusal)

    async def _look(self, device: DeviceId, address: str) -> None:
        async with self._slots:
            try:
                async with DeviceClient(address) as client:
                    signed, grant = await client.challenge()
                found = open_device_body(ChallengeBody, signed, self._orders.sessions.own_device(grant)).body
            except EnergyShareError as error:
                logger.debug("the device at %s gave nothing: %s", address, error)
                return
        if found.device_id != device:
            logger.warning("the device at %s is not the one that the configuration names", address)
            return
        with self._terminal.transaction():
            self._orders.learn_epoch(device, found.epoch)
            if found.state is DeviceState.FREE:
                self._orders.stock.found_free(device)

    def _do_due(self, order_id: OrderId, looked: bool) -> None:
        """Answer an end before silence settles it, claim a battery that stayed away, stop asking where nothing can come."""
        document = self._orders.document(order_id)
        is_overdue = self._orders.endings.is_overdue(document, looked)
        is_through = self._is_looked_through(document, looked)
        if document.confirm_until is None and not is_overdue and not is_through:
            return
        with self._orders.changing(order_id) as document:
            self._orders.endings.answer_if_due(order_id, document)
            if is_overdue:
                self._orders.endings.state_not_returned(order_id, document)
            if is_through:
                document.burn, document.release_wanted, document.looked_through = [], False, True

    def _is_looked_through(self, document: OrderDocument, looked: bool) -> bool:
        """Say whether no device can have anything new about an order any more, or it is too long ago."""
        if document.looked_through or document.finished is None:
            return False
        now = self._clock()
        if now > later(Instant(document.finished), PARTS_KEPT_S):
            return True
        expired = now > later(Instant(document.not_after), CLOCKS_APART_S)
        return expired and document.started is None and (looked or not document.voucher)

    def _report(self, order_id: OrderId, session: SessionEvidence, grant: bytes) -> None:
        """Keep and report what is new of a session, in one transaction; what does not hold is left."""
        try:
            with self._orders.changing(order_id) as document:
                if self._orders.sessions.keep_start(order_id, document, session.start_receipt, grant):
                    self._orders.book.tell(order_id, document, Started(session.start_receipt, grant), "start")
                is_metered = document.kind != Kind.SERVICE.name
                if is_metered:
                    self._report_readings(order_id, document, session, grant)
                if session.end_receipt is not None:
                    new = self._orders.sessions.keep_end(order_id, document, session.end_receipt, grant)
                    if new and is_metered:
                        self._orders.book.tell(order_id, document, Ended(session.end_receipt, grant), "end")
                self._orders.endings.answer_if_due(order_id, document)
        except Rejected as refusal:
            logger.warning("a device's evidence does not hold: %s", refusal)

    def _report_readings(self, order_id: OrderId, document: OrderDocument, session: SessionEvidence, grant: bytes) -> None:
        for first in range(0, len(session.readings), READINGS_PER_MESSAGE):
            page = session.readings[first : first + READINGS_PER_MESSAGE]
            new = self._orders.sessions.keep_readings(order_id, document, page, grant)
            if new:
                self._terminal.say(order_id, Reading(new, grant))


def _is_news(document: OrderDocument, session: SessionEvidence) -> bool:
    """Say whether a device has signed more about an order than is kept."""
    has_ended = session.end_receipt is not None and not document.ended
    has_readings = document.kind != Kind.SERVICE.name and len(session.readings) > document.readings
    return document.started is None or has_ended or has_readings
