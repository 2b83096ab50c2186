"""Who the cloud is to others: the party that owns what it exports, and the ids that it gives out."""

import re
from base64 import b32encode

from msgspec import Struct

from energyshare.values import AssetId, Digest, id_text

PARTY = re.compile(r"([A-Z]{2})-([A-Z0-9]{3})")
COUNTRY = re.compile(r"[A-Z]{3}")
DOMESTIC = re.compile(r"DOMESTIC_[A-O]")


class Party(Struct, frozen=True):
    """A charge point operator as OCPI knows it, and what its places have in common.

    `country_code` is ISO 3166 alpha-2, `party_id` has three characters, `country` is ISO 3166 alpha-3, `domestic` the
    ConnectorType of household sockets.
    """

    country_code: str
    party_id: str
    country: str
    domestic: str

    def evse_id(self, asset: AssetId) -> str:
        """Give an asset's EVSE id: its 16 bytes in base32, as 30 characters are what such an id has room for."""
        return f"{self.country_code}*{self.party_id}*E{b32encode(asset).decode().rstrip('=')}"


def half_text(digest: Digest) -> str:
    """Write the first half of a hash as a UUID: an id of 36 characters that names these very bytes."""
    return id_text(digest[:16])
