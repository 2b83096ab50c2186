"""How an order ends on the provider's side: a confirmation or a claim, or a battery that stays away.

    an end is confirmed once its readings are all there and the time to look at it is over; shortly before silence would
    settle it, with what there is
    a battery is said not to have come back once its lock was asked after cap and grace; a lock that can't be asked leaves
    its user's terminal six of the seven days to report the return

A confirmation is given only to an end that the provider's own device signed. What a person switches off in [offers] stays with
that person: `review_s` is the time to look, `claim_unreturned` whether the daemon says NotReturned by itself.
"""

from energyshare.bodies import EndConfirmationBody, EndRefusalBody, EndRequestBody, NotReturnedBody
from energyshare.errors import Reason, Rejected
from energyshare.messages import ConfirmEnd, EndConfirmed, EndRefused, NotReturned
from energyshare.values import DAY_S, DeviceId, Instant, Minor, OrderId, PartKind, PublicKey, later
from energyshare.wire import open_signed, seal
from terminals.provider.config import Offers
from terminals.provider.documents import ClaimLine, OrderBook, OrderDocument, require_state
from terminals.provider.sessions import Sessions
from terminals.provider.stock import Stock

LATE_S = 120  # before the time is up, an end is answered with the readings that there are
UNSEEN_S = 6 * DAY_S  # of the seven days that a deposit is held after a battery was due
CLAIM_WITHIN_S = 7 * DAY_S
ASK_AGAIN_S = 600
REASON_CHARACTERS_MAX = 500  # as the contract has it


class Endings:
    """Answers ends and claims deposits; inside a journal transaction."""

    def __init__(self, book: OrderBook, stock: Stock, sessions: Sessions, terms: Offers) -> None:
        self._book = book
        self._stock = stock
        self._sessions = sessions
        self._journal = book.journal
        self._identity = book.terminal.identity
        self.terms = terms

    # Ends

    def asked(self, order_id: OrderId, asked: ConfirmEnd, document: OrderDocument) -> None:
        """Take note of an end; one without a receipt has the device released and read first, if its user asked."""
        if not document.voucher:
            raise Rejected(Reason.WRONG_STATE, state=document.state)
        if asked.end_receipt is None or asked.grant is None:
            document.release_wanted = not document.ended and self._is_requested(order_id, asked, document)
        else:
            self._sessions.keep_end(order_id, document, asked.end_receipt, asked.grant)
        if document.state in ("SETTLED", "DISPUTED"):
            return
        document.state = "ENDING"
        if document.ended and not self._is_answered(order_id):
            document.confirm_until = asked.confirm_until_time
            document.review_until = later(self._book.clock(), self.terms.review_s)
            self.answer_if_due(order_id, document)

    def answer_if_due(self, order_id: OrderId, document: OrderDocument) -> None:
        """Confirm or refuse an end that waits for our answer, once it may be."""
        until, now = document.confirm_until, self._book.clock()
        if until is None:
            return
        decided = document.claim is not None or now >= (document.review_until or 0)
        if now >= later(Instant(until), -LATE_S) or (decided and self._has_all(order_id, document)):
            self._answer(order_id, document)

    def claim(self, order_id: OrderId, document: OrderDocument, claimed: Minor, reason: str) -> None:
        """Decide to claim a part of the deposit at an end that is not confirmed yet.

        Raises: Rejected with WRONG_STATE, AMOUNT_NOT_POSITIVE, CLAIM_ABOVE_DEPOSIT or MALFORMED.
        """
        if document.confirm_until is None:
            raise Rejected(Reason.WRONG_STATE, order=str(document.number), state=document.state)
        if claimed < 1:
            raise Rejected(Reason.AMOUNT_NOT_POSITIVE)
        if claimed > document.deposit_minor:
            raise Rejected(Reason.CLAIM_ABOVE_DEPOSIT, deposit=str(document.deposit_minor))
        if not 1 <= len(reason) <= REASON_CHARACTERS_MAX:
            raise Rejected(Reason.MALFORMED, field="reason", problem=f"needs 1 to {REASON_CHARACTERS_MAX} characters")
        document.claim = ClaimLine(claimed, reason)
        self.answer_if_due(order_id, document)

    def confirm_now(self, order_id: OrderId, document: OrderDocument) -> None:
        """Have an end confirmed without waiting for the time to look at it; raises Rejected{WRONG_STATE}."""
        if document.confirm_until is None or document.claim is not None:
            raise Rejected(Reason.WRONG_STATE, order=str(document.number), state=document.state)
        document.review_until = None
        self.answer_if_due(order_id, document)

    # Batteries that stay away

    def is_overdue(self, document: OrderDocument, looked: bool) -> bool:
        """Say whether the daemon is to claim the deposit now; `looked` when the lock was just asked and had no end."""
        due = document.due_back
        if due is None or document.ended or document.not_returned or not document.deposit_minor:
            return False
        if not self.terms.claim_unreturned or document.state not in ("ACTIVE", "ENDING", "SETTLED"):
            return False
        now, since = self._book.clock(), self.terms.claim_after_s if looked else UNSEEN_S
        return later(Instant(due), since) <= now < later(Instant(due), CLAIM_WITHIN_S)

    def state_not_returned(self, order_id: OrderId, document: OrderDocument) -> None:
        """Say that a battery has not come back; raises Rejected with WRONG_STATE or NOT_OVERDUE."""
        require_state(document, "ACTIVE", "ENDING", "SETTLED")
        if document.due_back is None or document.ended or document.not_returned:
            raise Rejected(Reason.WRONG_STATE, order=str(document.number), state=document.state)
        if self._book.clock() < document.due_back:
            raise Rejected(Reason.NOT_OVERDUE)
        statement = seal(NotReturnedBody(order_id, self._book.clock()), self._identity.key)
        self._journal.add_part(order_id, PartKind.NOT_RETURNED, statement.digest, statement.signed)
        self._book.tell(order_id, document, NotReturned(statement.signed), "not-returned")
        document.not_returned = True

    def ask_later(self, document: OrderDocument) -> None:
        """Take back a statement that came too early by the cloud's clock; it is made anew a little later."""
        document.not_returned = False
        document.due_back = later(self._book.clock(), ASK_AGAIN_S)

    def _answer(self, order_id: OrderId, document: OrderDocument) -> None:
        end = self._journal.part(order_id, PartKind.END_RECEIPT)
        assert end is not None
        document.confirm_until = document.review_until = None
        if document.claim is None:
            confirmation = seal(EndConfirmationBody(order_id, end.digest, None), self._identity.key)
            self._journal.add_part(order_id, PartKind.END_CONFIRMATION, confirmation.digest, confirmation.signed)
            self._book.tell(order_id, document, EndConfirmed(confirmation.signed), "confirmation")
            return
        body = EndRefusalBody(order_id, end.digest, Minor(document.claim.claimed_minor), document.claim.reason)
        refusal = seal(body, self._identity.key)
        self._journal.add_part(order_id, PartKind.END_REFUSAL, refusal.digest, refusal.signed)
        self._book.tell(order_id, document, EndRefused(refusal.signed), "claim")
        document.claim.told = True

    def _is_answered(self, order_id: OrderId) -> bool:
        answers = (PartKind.END_CONFIRMATION, PartKind.END_REFUSAL)
        return any(self._journal.part(order_id, kind) is not None for kind in answers)

    def _has_all(self, order_id: OrderId, document: OrderDocument) -> bool:
        """Say whether all readings are here, or none can be fetched."""
        can_fetch = DeviceId(document.device_id) in self._stock.addresses
        return not can_fetch or document.readings >= self._sessions.readings_due(order_id)

    def _is_requested(self, order_id: OrderId, asked: ConfirmEnd, document: OrderDocument) -> bool:
        """Say whether the user itself asked, by one of its account's keys, so that the owner may release in its place."""
        if asked.end_request is None:
            return False
        key = asked.requester_key or PublicKey(document.holder_key)
        return open_signed(EndRequestBody, asked.end_request, key).body.order_id == order_id
