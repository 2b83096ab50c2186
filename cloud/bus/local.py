"""The bus of one node: a terminal's stream, if it has one here, gets what was committed for it."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from cloud.bus.mail import Outgoing, StatelessRefusal
from energyshare.values import OrderId, TerminalId

Acks = Mapping[tuple[TerminalId, OrderId | None], int]


class Mailbox(Protocol):
    """Where a stream takes what is for its terminal; none of these wait."""

    def put_envelope(self, envelope: Outgoing) -> None:
        """Take an envelope."""

    def put_ack(self, order_id: bytes, number: int) -> None:
        """Take an acknowledgement."""

    def put_refusal(self, refusal: StatelessRefusal) -> None:
        """Take a refusal."""

    def displace(self) -> None:
        """Close: a newer stream of the terminal has come."""


class LocalBus:
    """Mailboxes by terminal; used on the event loop's thread only."""

    def __init__(self) -> None:
        self._mailboxes: dict[TerminalId, Mailbox] = {}

    def open(self, terminal: TerminalId, mailbox: Mailbox) -> None:
        """Route a terminal's mail to a mailbox, displacing the one before."""
        before = self._mailboxes.get(terminal)
        self._mailboxes[terminal] = mailbox
        if before is not None:
            before.displace()

    def close(self, terminal: TerminalId, mailbox: Mailbox) -> bool:
        """Stop routing to a mailbox; says whether it was the terminal's current one."""
        if self._mailboxes.get(terminal) is not mailbox:
            return False
        del self._mailboxes[terminal]
        return True

    def is_open(self, terminal: TerminalId) -> bool:
        """Say whether a terminal has a stream here."""
        return terminal in self._mailboxes

    def __len__(self) -> int:
        return len(self._mailboxes)

    def acknowledge(self, acks: Acks) -> None:
        """Hand on how far conversations have come."""
        for (terminal, order_id), number in acks.items():
            if (mailbox := self._mailboxes.get(terminal)) is not None:
                mailbox.put_ack(order_id or b"", number)

    def refuse(self, refusals: Iterable[StatelessRefusal]) -> None:
        """Hand on refusals that no conversation holds."""
        for refusal in refusals:
            if (mailbox := self._mailboxes.get(refusal.terminal)) is not None:
                mailbox.put_refusal(refusal)

    def publish(self, envelopes: Iterable[Outgoing]) -> None:
        """Hand on what a batch committed."""
        for envelope in envelopes:
            if (mailbox := self._mailboxes.get(envelope.terminal)) is not None:
                mailbox.put_envelope(envelope)
