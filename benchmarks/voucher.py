"""How many bytes a user carries to a device: a voucher and its grant, with every number at its largest."""

from energyshare.bodies import GrantBody, VoucherBody
from energyshare.signing import SigningKey
from energyshare.values import (
    RANGES,
    WINDOW_S_MAX,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    OrderId,
    Role,
    Serial,
    SubjectId,
    UnixS,
)
from energyshare.wire import Presentable, encode_presentable, seal


def largest_presentable() -> int:
    """Give the size of the largest Presentable, bytes."""
    key = SigningKey(bytes(32))
    last_s = UnixS(RANGES[UnixS][1])
    grant = GrantBody(SubjectId(bytes(16)), Role.ISSUER, key.public, last_s, last_s, None)
    voucher = VoucherBody(
        order_id=OrderId(bytes(16)),
        device_id=DeviceId(bytes(16)),
        holder_key=key.public,
        energy_wh_max=EnergyWh(10**9),
        duration_s_max=DurationS(WINDOW_S_MAX),
        not_before_unix_s=last_s,
        window_s=DurationS(WINDOW_S_MAX),
        serial=Serial(RANGES[Serial][1]),
        epoch=Epoch(RANGES[Epoch][1]),
        tariff_hash=Digest(bytes(32)),
    )
    return len(encode_presentable(Presentable(seal(voucher, key).signed, seal(grant, key).signed)))
