"""Coordinates of the Chinese datum GCJ-02 to WGS-84.

GCJ-02 shifts WGS-84 by some hundred metres with a published set of trigonometric terms; there is no closed inverse, so the
shift is taken off again until the point comes back to itself, which takes a few rounds to reach a centimetre. Outside
mainland China the two are the same.
"""

from math import cos, pi, radians, sin, sqrt

AXIS_M = 6_378_245.0  # semi-major axis of the Krasovsky 1940 ellipsoid
ECCENTRICITY_2 = 0.006_693_421_622_965_943
ROUNDS = 8


def wgs84_of_gcj02(latitude: float, longitude: float) -> tuple[float, float]:
    """Turn a GCJ-02 point into WGS-84, degrees."""
    if not (0.8293 <= latitude <= 55.8271 and 72.004 <= longitude <= 137.8347):
        return latitude, longitude
    north, east = latitude, longitude
    for _ in range(ROUNDS):
        shift = _shift(north, east)
        north, east = latitude - shift[0], longitude - shift[1]
    return north, east


def _shift(latitude: float, longitude: float) -> tuple[float, float]:
    """Give by how much GCJ-02 moves a WGS-84 point, degrees."""
    x, y = longitude - 105.0, latitude - 35.0
    north_m = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * sqrt(abs(x)) + _waves(x)
    north_m += (20.0 * sin(y * pi) + 40.0 * sin(y / 3.0 * pi)) * 2.0 / 3.0
    north_m += (160.0 * sin(y / 12.0 * pi) + 320.0 * sin(y * pi / 30.0)) * 2.0 / 3.0
    east_m = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * sqrt(abs(x)) + _waves(x)
    east_m += (20.0 * sin(x * pi) + 40.0 * sin(x / 3.0 * pi)) * 2.0 / 3.0
    east_m += (150.0 * sin(x / 12.0 * pi) + 300.0 * sin(x / 30.0 * pi)) * 2.0 / 3.0
    flattening = 1 - ECCENTRICITY_2 * sin(radians(latitude)) ** 2
    meridian_m = AXIS_M * (1 - ECCENTRICITY_2) / (flattening * sqrt(flattening))
    parallel_m = AXIS_M / sqrt(flattening) * cos(radians(latitude))
    return north_m * 180.0 / (meridian_m * pi), east_m * 180.0 / (parallel_m * pi)


def _waves(x: float) -> float:
    return (20.0 * sin(6.0 * x * pi) + 20.0 * sin(2.0 * x * pi)) * 2.0 / 3.0
