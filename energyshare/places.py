"""Places: distances between them, and their names for people."""

from math import asin, cos, radians, sin, sqrt

from energyshare.values import Metres, Place

EARTH_RADIUS_M = 6_371_008.8


def distance_m(one: Place, other: Place) -> Metres:
    """Give the great-circle distance. Source: haversine formula, mean earth radius."""
    north_1, north_2 = radians(one.latitude_e7 / 1e7), radians(other.latitude_e7 / 1e7)
    east = radians((other.longitude_e7 - one.longitude_e7) / 1e7)
    half = sin((north_2 - north_1) / 2) ** 2 + cos(north_1) * cos(north_2) * sin(east / 2) ** 2
    return Metres(round(2 * EARTH_RADIUS_M * asin(sqrt(min(1.0, half)))))


def place_name(station: str, asset: str) -> str:
    """Name an asset with its station, once."""
    return asset if asset == station or asset.startswith(f"{station}/") else f"{station}/{asset}"
