"""What a device remembers, as values; `memory_file` keeps it, `core` decides on it."""

from msgspec import Struct

from energyshare.bodies import VoucherBody
from energyshare.records import replace
from energyshare.values import (
    ClockQuality,
    DeviceId,
    Digest,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Number,
    Percent,
    PowerW,
    ProviderId,
    PublicKey,
    UnixS,
)
from terminals.device.clock import Clock, MonotonicUs, revived, ticked
from terminals.device.window import EMPTY, Window


class Profile(Struct, frozen=True):
    """Which device this is, whose, and of what kind."""

    device_id: DeviceId
    owner_id: ProviderId
    kind: Kind


class Meter(Struct, frozen=True):
    """What the hardware shows: a register that never falls, and the power that flows now (0 when none does)."""

    register_wh: EnergyWh
    power_w: PowerW
    soc_pct: Percent | None = None
    soh_pct: Percent | None = None


class Session(Struct, frozen=True):
    """An open session.

    `number` is its start receipt's; `cut_off` says that a cap stopped the supply for good, `supplying` what the last
    reading said.
    """

    voucher: VoucherBody
    voucher_hash: Digest
    number: Number
    start_receipt: bytes
    register_wh: EnergyWh
    elapsed_us: int
    quarter: int
    readings_count: Number
    readings_head: Digest
    supplying: bool
    cut_off: bool


class Failures(Struct, frozen=True):
    """How often a voucher was presented without its holder's proof; kept until the voucher ends."""

    voucher_hash: Digest
    count: int
    not_after_unix_s: UnixS


class Memory(Struct, frozen=True):
    """All that must outlive a power cut. `register_wh` is the highest that was ever signed."""

    epoch: Epoch
    clock: Clock
    window: Window
    receipts_count: Number
    register_wh: EnergyWh
    failures: tuple[Failures, ...]
    session: Session | None


class Ended(Struct, frozen=True):
    """A session that is over, for one who asks again."""

    holder_key: PublicKey
    end_receipt: bytes


def fresh_memory(epoch: Epoch, host_time: Instant) -> Memory:
    """Make the memory of a new or reset device; receipt numbers go on above those of every earlier epoch."""
    clock = Clock(host_time, ClockQuality.SYNCHRONIZED, MonotonicUs(0))
    return Memory(epoch, clock, EMPTY, Number((epoch - 1) << 32), EnergyWh(0), (), None)


def advanced(memory: Memory, monotonic_us: MonotonicUs) -> Memory:
    """Let time pass, for the clock and for the open session."""
    return _moved(memory, ticked(memory.clock, monotonic_us))


def restarted(memory: Memory, host_time: Instant, monotonic_us: MonotonicUs) -> Memory:
    """Go on after a power cut: the open session's time is counted by the clock."""
    in_session = memory.session is not None
    return _moved(memory, revived(memory.clock, host_time, monotonic_us, in_session=in_session))


def _moved(memory: Memory, clock: Clock) -> Memory:
    passed_us = clock.time - memory.clock.time
    session = memory.session and replace(memory.session, elapsed_us=memory.session.elapsed_us + passed_us)
    return replace(memory, clock=clock, session=session)
