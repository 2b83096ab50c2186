"""A cloud's home: what `init` makes, and what `cloud.toml` sets.

    cloud.toml   settings          cloud.db    the database       ca.pem, ca.key  certificate authority
    root.key     platform root     platform.key, platform.grant   the online key  token.secret
    sandbox.db   the sandbox's record, if `init --sandbox` made one   stripe.key, stripe-webhook.key   Stripe's, brought by hand

The root key signs grants only; `serve --root-key root.key` lets a demonstration do so by itself, in earnest it is kept offline.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from certs.authority import Authority
from cloud.domain.settings import Settings
from cloud.payments.gateway import Gateway
from cloud.payments.sandbox import FILE as SANDBOX_FILE
from cloud.payments.sandbox import Sandbox
from cloud.payments.stripe_settings import StripeSettings
from cloud.pump import system_now
from cloud.sealing import PlatformKey
from energyshare.bodies import GrantBody
from energyshare.config import ConfigError, load_config
from energyshare.errors import EnergyShareError
from energyshare.home import make_private, open_home, write_atomically
from energyshare.signing import SigningKey
from energyshare.values import Currency, Instant, PublicKey, Role, SubjectId, UnixS, later, unix_s
from energyshare.wire import seal

PLATFORM_GRANT_LIFETIME_S = 5 * 366 * 86_400
Seconds = Annotated[int, msgspec.Meta(ge=1, le=366 * 86_400)]


class Orders(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[orders] of cloud.toml: waits in seconds, limits in numbers."""

    wait_voucher_s: Seconds = 30
    start_report_grace_s: Seconds = 86_400
    end_grace_s: Seconds = 86_400
    wait_confirmation_s: Seconds = 600
    wait_not_returned_s: Seconds = 7 * 86_400
    wait_settlement_request_s: Seconds = 7 * 86_400
    wait_service_acknowledgement_s: Seconds = 14 * 86_400
    wait_service_confirmation_s: Seconds = 2 * 86_400
    wait_ruling_s: Seconds = 14 * 86_400
    dispute_within_s: Seconds = 72 * 3_600
    timer_grace_s: Annotated[int, msgspec.Meta(ge=0, le=3_600)] = 60
    stations_per_demand: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    open_orders_max: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 32


class Money(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[money] of cloud.toml: commission in basis points of the price without VAT."""

    commission_bp: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 500
    payments: Literal["none", "sandbox", "stripe"] = "none"


class Stripe(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[stripe] of cloud.toml: files that hold one key each, in the home unless their paths are absolute, and addresses."""

    pay_page: Annotated[str, msgspec.Meta(pattern="^https?://[^#]+$")]
    secret_key_file: str = "stripe.key"  # noqa: S105 - a name
    webhook_secret_file: str = "stripe-webhook.key"  # noqa: S105 - a name
    webhook_listen: Annotated[str, msgspec.Meta(pattern="^.+:[0-9]{1,5}$")] = "127.0.0.1:7445"
    api: Annotated[str, msgspec.Meta(pattern="^https?://.+$")] = "https://api.stripe.com"


class CloudConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """cloud.toml."""

    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
    trust_domain: Annotated[str, msgspec.Meta(pattern="^[a-z0-9.-]{1,100}$")]
    names: Annotated[list[str], msgspec.Meta(min_length=1, max_length=20)]
    orders: Orders = Orders()
    money: Money = Money()
    stripe: Stripe | None = None

    def settings(self) -> Settings:
        """Give what orders are decided by."""
        waits = {key: value for key, value in msgspec.structs.asdict(self.orders).items() if key != "timer_grace_s"}
        return Settings(currency=Currency(self.currency), commission_bp=self.money.commission_bp, **waits)


class AlreadyThere(EnergyShareError):
    """A home has been made before."""

    def __init__(self, home: Path) -> None:
        super().__init__(f"{home} is a cloud's home already")
        self.hint = "start it with: energyshare-cloud serve --home " + str(home)


class CloudHome:
    """The files of a cloud's home."""

    def __init__(self, home: Path) -> None:
        self.path = home

    @property
    def database(self) -> Path:
        """The database file."""
        return self.path / "cloud.db"

    def init(self, names: tuple[str, ...], currency: str, now: Instant, *, sandbox: bool = False) -> None:
        """Make a home: keys, certificate authority, settings. The platform root's key stays in it until it is taken away."""
        open_home(self.path, "cloud")
        if (self.path / "cloud.toml").exists():
            raise AlreadyThere(self.path)
        trust_domain = "energyshare-" + os.urandom(4).hex()
        root, platform = SigningKey.generate(), SigningKey.generate()
        grant = GrantBody(
            SubjectId(os.urandom(16)),
            Role.PLATFORM,
            platform.public,
            unix_s(later(now, -300)),
            UnixS(unix_s(now) + PLATFORM_GRANT_LIFETIME_S),
            None,
        )
        root.save(self.path / "root.key")
        platform.save(self.path / "platform.key")
        write_atomically(self.path / "root.pub", root.public.hex().encode() + b"\n")
        write_atomically(self.path / "platform.grant", seal(grant, root).signed)
        write_atomically(self.path / "token.secret", os.urandom(32))
        Authority.create(trust_domain, now).save(self.path)
        if sandbox:
            Sandbox.create(self.path)
        payments = "sandbox" if sandbox else "none"
        write_atomically(self.path / "cloud.toml", _toml(names, currency, trust_domain, payments).encode())

    def config(self) -> CloudConfig:
        """Read cloud.toml; raises ConfigError naming the field."""
        path = self.path / "cloud.toml"
        if not path.exists():
            raise ConfigError(path, "there is no cloud here; make one with: energyshare-cloud init --home " + str(self.path))
        make_private(self.path)
        return load_config(path, CloudConfig)

    def gateway(self, config: CloudConfig) -> Gateway | None:
        """Give the payment gateway that is set, if one is; raises ConfigError."""
        match config.money.payments:
            case "none":
                return None
            case "sandbox":
                return self._sandbox()
        try:
            from cloud.payments.stripe_gateway import StripeGateway  # takes half a second to import
        except ImportError:
            raise ConfigError(self.path / "cloud.toml", "for payments by Stripe install energyshare[stripe]") from None
        return StripeGateway(self.stripe(config), Currency(config.currency), system_now)

    def stripe(self, config: CloudConfig) -> StripeSettings:
        """Read how to reach Stripe; raises ConfigError when a key is missing."""
        table = config.stripe
        if table is None:
            raise ConfigError(self.path / "cloud.toml", 'payments = "stripe" needs a table [stripe] with pay_page')
        secret, webhook = self._secret(table.secret_key_file), self._secret(table.webhook_secret_file)
        return StripeSettings(secret, webhook, table.webhook_listen, table.pay_page, table.api)

    def _sandbox(self) -> Sandbox:
        if not (self.path / SANDBOX_FILE).exists():
            raise ConfigError(self.path / "cloud.toml", "only a cloud that was made with init --sandbox has a sandbox")
        return Sandbox(self.path)

    def _secret(self, name: str) -> str:
        path = self.path / name
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(path, "a key of Stripe is expected in this file") from None

    def authority(self) -> Authority:
        """Load the certificate authority."""
        return Authority.load(self.path)

    def platform(self) -> PlatformKey:
        """Load the online key with its grant."""
        return PlatformKey(SigningKey.load(self.path / "platform.key"), (self.path / "platform.grant").read_bytes())

    def root(self) -> PublicKey:
        """Read the platform root's public key."""
        return PublicKey(bytes.fromhex((self.path / "root.pub").read_text()))

    def token_secret(self) -> bytes:
        """Read what join tokens are derived from."""
        return (self.path / "token.secret").read_bytes()


def _toml(names: tuple[str, ...], currency: str, trust_domain: str, payments: str) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    lines = [
        f'currency = "{currency}"',
        f'trust_domain = "{trust_domain}"',
        f"names = [{quoted}]  # host names and addresses under which terminals reach this cloud",
        "",
        "[orders]",
        *(f"{key} = {value}" for key, value in msgspec.structs.asdict(Orders()).items()),
        "",
        "[money]",
        f"commission_bp = {Money().commission_bp}",
        f'payments = "{payments}"',
    ]
    return "\n".join(lines) + "\n"
