"""What an operator can set about orders; `cloud.toml` overrides the defaults (docs/architecture.md)."""

from msgspec import Struct

from energyshare.values import Currency


class Settings(Struct, frozen=True):
    """Waits in seconds, shares in basis points, limits in numbers."""

    currency: Currency = Currency("CNY")
    commission_bp: int = 500
    wait_voucher_s: int = 30
    start_report_grace_s: int = 86_400
    end_grace_s: int = 86_400
    wait_confirmation_s: int = 600
    wait_not_returned_s: int = 7 * 86_400
    wait_settlement_request_s: int = 7 * 86_400
    wait_service_acknowledgement_s: int = 14 * 86_400
    wait_service_confirmation_s: int = 2 * 86_400
    wait_ruling_s: int = 14 * 86_400
    dispute_within_s: int = 72 * 3_600
    stations_per_demand: int = 8
    open_orders_max: int = 32
    needed_by_max_s: int = 7 * 86_400
    voucher_slack_s: int = 7_200
    top_up_max_minor: int = 10**12
