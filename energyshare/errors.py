"""The errors that the programs know, and what each reason says to a person.

Three kinds: `Rejected` (the caller's fault), `Unavailable` (try again), `Corrupt` (stop). Each edge maps them once: on the
stream to a `Rejected` message, on unary calls to a status, on a command line to `error:` and `hint:` lines.
"""

from collections.abc import Mapping
from enum import StrEnum


class EnergyShareError(Exception):
    """Anything that the programs report by themselves."""


class Unavailable(EnergyShareError):
    """Something is not there now; trying again may help."""

    def __init__(self, what: str, hint: str = "try again in a moment") -> None:
        super().__init__(what)
        self.hint = hint


class Corrupt(EnergyShareError):
    """Stored data contradicts itself; going on could do harm."""

    def __init__(self, what: str, hint: str = "stop here and look at the files named") -> None:
        super().__init__(what)
        self.hint = hint


class Reason(StrEnum):
    """Why something was refused. The value goes over the wire; the words are in `WORDS`."""

    MALFORMED = "MALFORMED"
    UNSUPPORTED = "UNSUPPORTED"
    INTERNAL = "INTERNAL"
    RATE_LIMITED = "RATE_LIMITED"
    # conversations and orders
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    NOT_A_PARTICIPANT = "NOT_A_PARTICIPANT"
    WRONG_ROLE = "WRONG_ROLE"
    SEQUENCE_REUSED = "SEQUENCE_REUSED"
    WRONG_STATE = "WRONG_STATE"
    ORDER_MOVED_ON = "ORDER_MOVED_ON"
    ORDER_EXISTS = "ORDER_EXISTS"
    TOO_MANY_OPEN_ORDERS = "TOO_MANY_OPEN_ORDERS"
    NEEDED_BY_PAST = "NEEDED_BY_PAST"
    NEEDED_BY_TOO_FAR = "NEEDED_BY_TOO_FAR"
    DEMAND_UNBOUNDED = "DEMAND_UNBOUNDED"
    # offers and selections
    OFFER_UNKNOWN = "OFFER_UNKNOWN"
    OFFER_EXPIRED = "OFFER_EXPIRED"
    OFFER_LATE = "OFFER_LATE"
    OFFER_FOREIGN = "OFFER_FOREIGN"
    OFFER_CAPS = "OFFER_CAPS"
    OFFER_ESTIMATE = "OFFER_ESTIMATE"
    OFFER_TARIFF = "OFFER_TARIFF"
    OFFER_TOO_DEAR = "OFFER_TOO_DEAR"
    OFFER_WINDOW = "OFFER_WINDOW"
    OFFER_EXISTS = "OFFER_EXISTS"
    ASSET_TAKEN = "ASSET_TAKEN"
    ASSET_FOREIGN = "ASSET_FOREIGN"
    NO_SUCH_ASSET = "NO_SUCH_ASSET"
    HOLD_MISMATCH = "HOLD_MISMATCH"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    AMOUNT_NOT_POSITIVE = "AMOUNT_NOT_POSITIVE"
    AMOUNT_TOO_LARGE = "AMOUNT_TOO_LARGE"
    CLAIM_ABOVE_DEPOSIT = "CLAIM_ABOVE_DEPOSIT"
    RECEIVABLE_DUE = "RECEIVABLE_DUE"
    ACCOUNT_SUSPENDED = "ACCOUNT_SUSPENDED"
    # services, disputes, returns
    OFFER_ITEMS = "OFFER_ITEMS"
    AMENDMENT_UNKNOWN = "AMENDMENT_UNKNOWN"
    AMENDMENT_OPEN = "AMENDMENT_OPEN"
    AMENDMENT_HOLD = "AMENDMENT_HOLD"
    SETTLEMENT_UNKNOWN = "SETTLEMENT_UNKNOWN"
    SETTLEMENT_ITEMS = "SETTLEMENT_ITEMS"
    SETTLEMENT_TOTAL = "SETTLEMENT_TOTAL"
    DISPUTE_LATE = "DISPUTE_LATE"
    DISPUTE_AMOUNT = "DISPUTE_AMOUNT"
    NOT_OVERDUE = "NOT_OVERDUE"
    ENDED_BY_PROVIDER = "ENDED_BY_PROVIDER"
    # signatures and grants
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    GRANT_INVALID = "GRANT_INVALID"
    GRANT_ROLE = "GRANT_ROLE"
    GRANT_OWNER = "GRANT_OWNER"
    GRANT_SUBJECT = "GRANT_SUBJECT"
    GRANT_EXPIRED = "GRANT_EXPIRED"
    # vouchers and devices
    VOUCHER_ORDER = "VOUCHER_ORDER"
    VOUCHER_HOLDER = "VOUCHER_HOLDER"
    VOUCHER_DEVICE = "VOUCHER_DEVICE"
    VOUCHER_CAPS = "VOUCHER_CAPS"
    VOUCHER_TARIFF = "VOUCHER_TARIFF"
    VOUCHER_WINDOW = "VOUCHER_WINDOW"
    VOUCHER_SERIAL = "VOUCHER_SERIAL"
    VOUCHER_NOT_YET_VALID = "VOUCHER_NOT_YET_VALID"
    VOUCHER_EXPIRED = "VOUCHER_EXPIRED"
    VOUCHER_USED = "VOUCHER_USED"
    VOUCHER_EPOCH = "VOUCHER_EPOCH"
    HOLDER_PROOF = "HOLDER_PROOF"
    CHALLENGE_UNKNOWN = "CHALLENGE_UNKNOWN"
    LOCKED_OUT = "LOCKED_OUT"
    BUSY = "BUSY"
    NOT_IN_USE = "NOT_IN_USE"
    STRANGER = "STRANGER"
    CLOCK_LOST = "CLOCK_LOST"
    CLOCK_JUMP = "CLOCK_JUMP"
    DEVICE_FAULT = "DEVICE_FAULT"
    # evidence
    RECEIPT_FOREIGN = "RECEIPT_FOREIGN"
    RECEIPT_CONFLICT = "RECEIPT_CONFLICT"
    PRESENTATION_MISSING = "PRESENTATION_MISSING"
    READING_GAP = "READING_GAP"
    READING_IMPLAUSIBLE = "READING_IMPLAUSIBLE"
    CONFIRMATION_FOREIGN = "CONFIRMATION_FOREIGN"
    BILL_BASIS = "BILL_BASIS"
    BILL_SESSION = "BILL_SESSION"
    BILL_TOTAL = "BILL_TOTAL"
    BILL_HOLD = "BILL_HOLD"
    PART_MISSING = "PART_MISSING"
    PART_HASH = "PART_HASH"
    PART_UNEXPECTED = "PART_UNEXPECTED"
    ORDER_FOREIGN = "ORDER_FOREIGN"
    # identities
    TOKEN_UNKNOWN = "TOKEN_UNKNOWN"
    TOKEN_USED = "TOKEN_USED"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    PROVIDER_UNKNOWN = "PROVIDER_UNKNOWN"
    NAME_TAKEN = "NAME_TAKEN"
    PROOF_INVALID = "PROOF_INVALID"
    IDENTITY_EXPIRED = "IDENTITY_EXPIRED"
    IDENTITY_REVOKED = "IDENTITY_REVOKED"
    IDENTITY_UNKNOWN = "IDENTITY_UNKNOWN"
    INCARNATION_CHANGED = "INCARNATION_CHANGED"
    NO_PAYMENT_GATEWAY = "NO_PAYMENT_GATEWAY"
    WITHDRAWAL_NOT_COVERED = "WITHDRAWAL_NOT_COVERED"
    PAYOUT_TOO_LARGE = "PAYOUT_TOO_LARGE"
    PERIOD_EMPTY = "PERIOD_EMPTY"
    PERIOD_TOO_LONG = "PERIOD_TOO_LONG"
    PAYOUT_ACCOUNT = "PAYOUT_ACCOUNT"
    PAYMENT_FAILED = "PAYMENT_FAILED"
    # the operator's commands
    PARTY_UNKNOWN = "PARTY_UNKNOWN"
    PARKED_UNKNOWN = "PARKED_UNKNOWN"
    PARKED_REFUSED = "PARKED_REFUSED"
    ASSET_UNKNOWN = "ASSET_UNKNOWN"
    BACKUP_FAILED = "BACKUP_FAILED"


WORDS: Mapping[Reason, tuple[str, str]] = {
    Reason.MALFORMED: ("a message does not hold to the contract", "update the program that sent it"),
    Reason.UNSUPPORTED: ("this cloud does not take such a message yet", "update the cloud, or leave the request out"),
    Reason.INTERNAL: (
        "the cloud failed on this message and put it aside",
        "the operator can find it with: energyshare-cloud status",
    ),
    Reason.RATE_LIMITED: ("too many requests", "wait a few seconds and try again"),
    Reason.UNKNOWN_ORDER: ("there is no such order", "list yours with: energyshare orders"),
    Reason.NOT_A_PARTICIPANT: ("this order belongs to others", "list yours with: energyshare orders"),
    Reason.WRONG_ROLE: ("this is not for your side of the order to say", "use the program of the other side"),
    Reason.SEQUENCE_REUSED: (
        "a message number came twice with different contents",
        "the journal may have been copied; enroll this terminal anew",
    ),
    Reason.WRONG_STATE: ("the order is not at that point", "look at it with: energyshare status"),
    Reason.ORDER_MOVED_ON: ("the order went on without this", "look at it with: energyshare status"),
    Reason.ORDER_EXISTS: ("an order with this id exists already", "make a new demand"),
    Reason.TOO_MANY_OPEN_ORDERS: ("too many orders are open", "end or settle one of them first"),
    Reason.NEEDED_BY_PAST: ("the time by which it is needed has passed", "make a new demand, and check this machine's clock"),
    Reason.NEEDED_BY_TOO_FAR: (
        "the time by which it is needed is more than seven days ahead",
        "make the demand nearer to that time",
    ),
    Reason.DEMAND_UNBOUNDED: ("a demand for energy needs an amount or a duration", "add --energy-wh N or --duration 2h"),
    Reason.OFFER_UNKNOWN: ("no such offer stands in this order", "list them with: energyshare offers"),
    Reason.OFFER_EXPIRED: ("the offer has expired", "select another, or make a new demand"),
    Reason.OFFER_LATE: ("the offer came after the demand's time", "answer demands sooner"),
    Reason.OFFER_FOREIGN: ("the offer is for another order, or by another provider", "offer only what the notice asked for"),
    Reason.OFFER_CAPS: ("the offer's caps exceed what was asked for or what the asset can give", "lower the caps"),
    Reason.OFFER_ESTIMATE: (
        "the offer's estimate does not follow from its tariff",
        "compute it with the tariff that the offer carries",
    ),
    Reason.OFFER_TARIFF: (
        "the offer's tariff is not the asset's, or can't be priced",
        "check it with: energyshare tariff price",
    ),
    Reason.OFFER_TOO_DEAR: (
        "the most that the offer can cost is above the user's limit",
        "nothing to do; the user set a limit",
    ),
    Reason.OFFER_WINDOW: (
        "the offer's times do not fit the demand",
        "expire after the demand's wait, and let vouchers end within two hours of needed-by",
    ),
    Reason.OFFER_EXISTS: ("an offer with this asset stands already", "withdraw it first"),
    Reason.ASSET_TAKEN: ("someone else has just taken it", "select another offer with: energyshare offers"),
    Reason.NO_SUCH_ASSET: ("there is not exactly one asset of that name", "list yours with: energyshare-provider asset list"),
    Reason.ASSET_FOREIGN: ("this asset was not asked for", "offer only the assets that the notice names"),
    Reason.HOLD_MISMATCH: ("the amount to hold is not what offer and tariff give", "update the program, then select again"),
    Reason.INSUFFICIENT_FUNDS: ("the wallet does not hold enough", "pay in with: energyshare wallet top-up AMOUNT"),
    Reason.CURRENCY_MISMATCH: ("the currency is not this cloud's", "use the cloud's currency"),
    Reason.AMOUNT_NOT_POSITIVE: ("the amount must be above zero", "give an amount above zero"),
    Reason.AMOUNT_TOO_LARGE: ("the amount is past the limit", "give a smaller amount"),
    Reason.CLAIM_ABOVE_DEPOSIT: ("the claim is above the deposit", "claim at most the deposit"),
    Reason.RECEIVABLE_DUE: ("an earlier order is not paid yet", "pay in with: energyshare wallet top-up AMOUNT"),
    Reason.ACCOUNT_SUSPENDED: ("the operator has suspended this account", "ask the operator; running orders can be ended"),
    Reason.OFFER_ITEMS: ("the offer does not quote what was asked for", "quote each item of the demand, priced by the tariff"),
    Reason.AMENDMENT_UNKNOWN: ("no such amendment waits for an answer", "look at the order with: energyshare order show"),
    Reason.AMENDMENT_OPEN: ("an amendment waits for its answer", "wait until the user has answered it"),
    Reason.AMENDMENT_HOLD: (
        "the amendment's amount is not what its items cost by the tariff",
        "compute it with the offer's tariff",
    ),
    Reason.SETTLEMENT_UNKNOWN: ("no such settlement request waits for an answer", "answer the latest one"),
    Reason.SETTLEMENT_ITEMS: (
        "the settlement asks for more than quote and approved amendments",
        "propose an amendment first: energyshare-provider job add-item",
    ),
    Reason.SETTLEMENT_TOTAL: ("the settlement's total is above what its items and time cost", "ask for what the tariff gives"),
    Reason.DISPUTE_LATE: (
        "the time to dispute this bill has passed, or a dispute is open",
        "ask the operator for a credit",
    ),
    Reason.DISPUTE_AMOUNT: ("the disputed amount is above the bill", "dispute at most what was charged"),
    Reason.NOT_OVERDUE: ("the time to bring the battery back has not run out", "wait until cap and grace have passed"),
    Reason.ENDED_BY_PROVIDER: (
        "a service is not ended by its user: its provider asks for settlement",
        "wait for that with: energyshare sync; then answer with: energyshare confirm",
    ),
    Reason.SIGNATURE_INVALID: ("a signature does not verify", "it was altered or made with another key"),
    Reason.GRANT_INVALID: ("a grant is not signed by the platform root", "it comes from another platform, or was altered"),
    Reason.GRANT_ROLE: ("a key was used for what its grant does not allow", "it was granted for another role"),
    Reason.GRANT_OWNER: ("the device belongs to another provider", "use it with a voucher of its own provider"),
    Reason.GRANT_SUBJECT: ("a grant speaks of someone else", "use the grant of the one who signed"),
    Reason.GRANT_EXPIRED: ("a grant was not valid at that time", "its holder must enroll or renew"),
    Reason.VOUCHER_ORDER: ("the voucher is for another order", "use the voucher of this order"),
    Reason.VOUCHER_HOLDER: ("the voucher is for another person", "only the one who selected can use it"),
    Reason.VOUCHER_DEVICE: ("the voucher is for another device", "go to the device that the offer names"),
    Reason.VOUCHER_CAPS: ("the voucher's caps are not the offer's", "the provider must issue it again"),
    Reason.VOUCHER_TARIFF: ("the voucher's tariff is not the offer's", "the provider must issue it again"),
    Reason.VOUCHER_WINDOW: ("the voucher's window is not the offer's", "the provider must issue it again"),
    Reason.VOUCHER_SERIAL: ("the voucher's number is older than what this device has seen", "make a new order"),
    Reason.VOUCHER_NOT_YET_VALID: ("the voucher is not valid yet", "wait until its time begins"),
    Reason.VOUCHER_EXPIRED: ("the voucher has expired", "make a new order"),
    Reason.VOUCHER_USED: ("the voucher was used already", "make a new order"),
    Reason.VOUCHER_EPOCH: (
        "the device was reset after this voucher was made",
        "make a new order; its provider will learn of the reset",
    ),
    Reason.HOLDER_PROOF: ("the voucher was not presented by its holder", "use the terminal that selected the offer"),
    Reason.CHALLENGE_UNKNOWN: ("the device's question is too old or was answered already", "try again"),
    Reason.LOCKED_OUT: ("this voucher was presented wrongly too often", "ask the provider to end the order"),
    Reason.BUSY: ("the device is in use by another order", "wait, or choose another device"),
    Reason.NOT_IN_USE: ("the device is not in use", "start it first with: energyshare start"),
    Reason.STRANGER: ("only the holder or the owner can end this", "use the terminal that started it"),
    Reason.CLOCK_LOST: ("the device has lost its clock", "run the command again while this terminal is online"),
    Reason.CLOCK_JUMP: ("the stated time is too far from the device's clock", "ask the provider to look at the device"),
    Reason.DEVICE_FAULT: ("the device's memory is missing or damaged", "its provider must run: energyshare-device reset"),
    Reason.RECEIPT_FOREIGN: ("the receipt is not of this order's voucher", "report the receipt of the right order"),
    Reason.RECEIPT_CONFLICT: (
        "another receipt was recorded for this voucher",
        "the device is put aside until its provider explains",
    ),
    Reason.PRESENTATION_MISSING: (
        "the receipt does not hold the holder's presentation",
        "a charge needs the holder's signature",
    ),
    Reason.READING_GAP: ("the readings do not form a chain", "report them in order, from the first"),
    Reason.READING_IMPLAUSIBLE: (
        "a reading contradicts the ones before it or the asset's power",
        "ask the provider to look at the meter",
    ),
    Reason.CONFIRMATION_FOREIGN: ("the answer is to another end than the one recorded", "answer the latest request"),
    Reason.BILL_BASIS: ("the bill's basis is not the best evidence that there is", "dispute it"),
    Reason.BILL_SESSION: ("the bill's start, duration or energy do not follow from the evidence", "dispute it"),
    Reason.BILL_TOTAL: ("the bill's amounts do not follow from tariff and session", "dispute it"),
    Reason.BILL_HOLD: ("the bill exceeds what was held", "dispute it"),
    Reason.PART_MISSING: ("a part of the evidence is missing", "ask for the whole bundle"),
    Reason.PART_HASH: ("a part of the evidence is not the one that the bill names", "ask for the original bundle"),
    Reason.ORDER_FOREIGN: ("a part is of another order", "ask for the original bundle"),
    Reason.PART_UNEXPECTED: ("a part has no place in the evidence of this bill", "ask for the original bundle"),
    Reason.TOKEN_UNKNOWN: ("there is no such join token", "ask the operator for one"),
    Reason.TOKEN_USED: ("the join token was used by another key", "ask the operator for a new one"),
    Reason.TOKEN_EXPIRED: ("the join token has expired", "ask the operator for a new one"),
    Reason.PROVIDER_UNKNOWN: ("there is no provider of that name", "enroll the provider first, and check --provider"),
    Reason.NAME_TAKEN: ("someone else has that name", "choose another name"),
    Reason.PROOF_INVALID: ("the key's proof of possession does not hold", "enroll again with the key of this home"),
    Reason.IDENTITY_EXPIRED: ("this terminal's certificate has expired", "run the enroll command again to renew it"),
    Reason.IDENTITY_REVOKED: ("this terminal's identity was revoked", "ask the operator"),
    Reason.IDENTITY_UNKNOWN: ("the cloud does not know this terminal", "enroll it at this cloud"),
    Reason.INCARNATION_CHANGED: ("the other side's journal is not the one that was known", "ask the operator"),
    Reason.NO_PAYMENT_GATEWAY: ("this cloud takes no payments", "ask the operator how to pay in"),
    Reason.WITHDRAWAL_NOT_COVERED: (
        "money goes back the way it came, and the payments that can be given back hold less",
        "ask for less, or ask the operator",
    ),
    Reason.PERIOD_EMPTY: ("the period ends before it has begun", "give a first day before the day after the last"),
    Reason.PERIOD_TOO_LONG: ("more has moved in the period than one statement holds", "ask for a shorter period"),
    Reason.PAYOUT_TOO_LARGE: (
        "less is payable to this provider by now",
        "see what is with: energyshare-cloud statement NAME --role provider",
    ),
    Reason.PAYOUT_ACCOUNT: (
        "nobody has said where this provider is paid",
        "set it with: energyshare-cloud payment account PROVIDER ACCOUNT",
    ),
    Reason.PAYMENT_FAILED: (
        "the payment gateway refused the payment; the money is where it was",
        "look at what it said, then try again",
    ),
    Reason.PARTY_UNKNOWN: (
        "no one party bears that name",
        "list them with: energyshare-cloud party list, or terminal list, and name a terminal by its id",
    ),
    Reason.PARKED_UNKNOWN: ("no such message is parked", "list them with: energyshare-cloud parked list"),
    Reason.PARKED_REFUSED: (
        "this message can't be retried; its sender was told that it failed, and says again what it still wants",
        "throw it away with: energyshare-cloud parked drop ID",
    ),
    Reason.ASSET_UNKNOWN: ("no one asset bears that name", "list them with: energyshare-cloud asset list, and give --provider"),
    Reason.BACKUP_FAILED: ("the backup was not made", "name a new file in a folder that exists and has room"),
}


class Rejected(EnergyShareError):
    """The caller asked for something that can't be; nothing changed."""

    def __init__(self, reason: Reason, **metadata: str) -> None:
        super().__init__(reason, metadata)
        self.reason = reason
        self.metadata: Mapping[str, str] = metadata

    def __str__(self) -> str:
        return f"{sentence(self.reason, self.metadata)} [{self.reason}]"

    @property
    def hint(self) -> str:
        """What to do about it."""
        return WORDS[self.reason][1]


def sentence(reason: str, metadata: Mapping[str, str]) -> str:
    """Say a reason in words, with what is known about it; unknown reasons stay as they are."""
    words = WORDS[Reason(reason)][0] if reason in Reason.__members__ else reason.replace("_", " ").lower()
    details = ", ".join(f"{key} {value}" for key, value in metadata.items())
    return f"{words} ({details})" if details else words


def hint_of(reason: str) -> str:
    """Say what to do about a reason that came over the wire."""
    return WORDS[Reason(reason)][1] if reason in Reason.__members__ else "update this program"
