"""Bills and rulings: what a user's terminal does with each charge record that comes.

The latest one counts. One that the payment module can't derive from the evidence is disputed at once, as a whole. Runs inside
the journal's transaction, as all of a user's orders.
"""

from energyshare.bodies import ChargeRecordBody, Verified
from energyshare.errors import Rejected
from energyshare.messages import Dispute, Settled
from energyshare.tariff import TariffError
from energyshare.values import Digest, Minor, OrderId
from terminals.stream import Terminal
from terminals.user import keeping, payment
from terminals.user.order import DISPUTE_REASON_MAX, RulingMade, UserOrder


class Bills:
    """The part of a user's handler that is about money."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._journal = terminal.journal
        self._root = terminal.identity.root_key

    def settle(self, order_id: OrderId, order: UserOrder, settled: Settled) -> None:
        """Keep a bill, and say whether it follows from the evidence; raises Rejected when it is not the platform's."""
        kept = keeping.keep_bill(self._journal, order_id, settled, self._root)
        if payment.records(self._journal, order_id)[-1][0] != kept.digest:
            return
        record = kept.body
        order.state, order.disputed_minor = "DISPUTED" if settled.disputed_minor else "SETTLED", settled.disputed_minor
        order.total_minor = record.incl_vat_minor + record.deposit_claimed_minor
        order.settled = record.settled_time
        order.unproved_reason = self._fault_of_bill(order_id)
        order.proved = not order.unproved_reason
        if not order.proved:
            self._dispute_unproved(order_id, order, kept)

    def rule(self, order_id: OrderId, order: UserOrder, signed: bytes) -> None:
        """Keep a ruling; the charge record that follows from it comes as a bill of its own."""
        grant = self._terminal.identity.platform_grant
        ruling = keeping.keep_ruling(self._journal, order_id, signed, grant, self._root)
        order.rulings.append(RulingMade(ruling.charged_minor, ruling.reason, ruling.ruled_time))

    def dispute(self, order_id: OrderId, order: UserOrder, record: Digest, amount: Minor, reason: str) -> None:
        """Say that an amount of a bill is disputed; the cloud then holds it back from the provider."""
        number = self._terminal.say(order_id, Dispute(record, amount, reason[:DISPUTE_REASON_MAX]))
        order.note_asked("DISPUTE", number)
        order.disputed_records.append(record)
        order.state, order.disputed_minor, order.dispute_reason = "DISPUTED", amount, reason

    def _fault_of_bill(self, order_id: OrderId) -> str:
        """Say the first thing that does not hold in an order's bill; nothing when it follows from the evidence."""
        try:
            payment.prove(self._journal, order_id, self._root)
        except (Rejected, TariffError) as error:
            return str(error)
        return ""

    def _dispute_unproved(self, order_id: OrderId, order: UserOrder, record: Verified[ChargeRecordBody]) -> None:
        """Dispute the whole of a bill, once; one that is in dispute has a judge already."""
        total = record.body.incl_vat_minor
        if order.holder_key is not None:
            return  # another terminal's: what was read before this one joined is not here
        if total and not order.disputed_minor and record.digest not in order.disputed_records:
            self.dispute(order_id, order, record.digest, total, order.unproved_reason)
