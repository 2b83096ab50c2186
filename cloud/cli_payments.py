"""The operator's commands about payments: what came in and went out, payouts, and gateway against ledger."""

import os
from pathlib import Path

import click

from cloud import pages
from cloud.asking import HOME, JSON, LIMIT, YES, agree, ask, show
from cloud.config import CloudHome
from cloud.pages import money, out, plain
from energyshare.errors import Reason, Rejected
from energyshare.program import count_text
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Currency, Money


@click.group()
def payment() -> None:
    """Payments through the gateway."""


@payment.command("list")
@HOME
@LIMIT
@JSON
def payment_list(home: Path, limit: int, as_json: bool) -> None:
    """List payments, newest first.

    \b
    Examples:
      energyshare-cloud payment list
    """
    answer = ask(home, "ListPayments", pb.ListPaymentsRequest(page_size=limit))

    def page() -> None:
        lines = [
            (pages.day_clock(p.payment_time), p.purpose.lower(), p.party_name, _amount(p, answer.currency), p.state, p.problem)
            for p in answer.payments
        ]
        pages.rows(("time", "what", "who", "amount", "state", ""), lines, "Nothing was paid yet.")

    show(answer, as_json, page)


@payment.command("reconcile")
@HOME
@JSON
def payment_reconcile(home: Path, as_json: bool) -> None:
    """Ask the gateway about what is open, then compare all of it with the ledger; exit 1 when something does not agree.

    \b
    Examples:
      energyshare-cloud payment reconcile
    """
    answer = ask(home, "ReconcilePayments", pb.ReconcilePaymentsRequest())

    def page() -> None:
        out.print(f"{count_text(answer.concluded, 'payment')} came to their end; {answer.still_open} still open.")
        if answer.differences:
            lines = [(d.payment_id, d.gateway_id, d.problem) for d in answer.differences]
            pages.rows(("payment", "at the gateway", "what does not agree"), lines)
        else:
            out.print(f"Gateway and ledger agree on {count_text(answer.compared, 'payment')}.")

    show(answer, as_json, page)
    if answer.differences:
        raise SystemExit(1)


@payment.command("payout", context_settings={"ignore_unknown_options": True})  # -5 is an amount, and refused as one
@HOME
@click.argument("provider")
@click.argument("amount")
@YES
@JSON
def payment_payout(home: Path, provider: str, amount: str, yes: bool, as_json: bool) -> None:
    """Pay a provider what it has earned; AMOUNT as 100 or 25.50.

    \b
    Examples:
      energyshare-cloud payment payout depot 250
    """
    paid = _amount_of(amount, Currency(CloudHome(home).config().currency))
    agree(f"Pay {paid} to {provider}?", yes, as_json)
    request = pb.PayOutRequest(request_id=os.urandom(16), provider_name=provider, amount_minor=paid.amount_minor)
    answer = ask(home, "PayOut", request)

    def page() -> None:
        made = answer.payment
        out.print(f"The payout of {_amount(made, answer.currency)} to {plain(provider)} is {made.state.lower()}.")
        if made.state in ("CREATED", "PENDING"):
            out.print("To ask the gateway again: energyshare-cloud payment reconcile")

    show(answer, as_json, page)
    if answer.payment.state == "FAILED":
        raise Rejected(Reason.PAYMENT_FAILED, gateway=answer.payment.problem)


@payment.command("account")
@HOME
@click.argument("provider")
@click.argument("account")
@JSON
def payment_account(home: Path, provider: str, account: str, as_json: bool) -> None:
    """Say to which account at the gateway a provider is paid; for Stripe a connected account.

    \b
    Examples:
      energyshare-cloud payment account depot acct_1NN2J3
    """
    answer = ask(home, "SetPayoutAccount", pb.SetPayoutAccountRequest(provider_name=provider, destination=account))
    following = f"Next: energyshare-cloud payment payout {plain(provider)} AMOUNT"
    show(answer, as_json, lambda: out.print(f"{plain(provider)} is paid to {plain(account)}.\n{following}"))


def _amount(row: pb.PaymentRow, currency: str) -> str:
    return money(row.amount_minor, currency)


def _amount_of(text: str, currency: Currency) -> Money:
    try:
        return Money.parse(text, currency)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


COMMANDS = (payment,)
