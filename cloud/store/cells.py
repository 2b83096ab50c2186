"""H3 cells: the only module that knows the (untyped) h3 library.

An asset carries its cell at three resolutions; a demand asks the disk of cells around its place at the one that keeps the
disk small.
"""

from typing import NamedTuple, cast

import h3.api.basic_int as h3  # type: ignore[import-untyped]

from energyshare.values import Metres, Place

# resolution → (average hexagon edge in metres, largest radius asked at it). Source: H3's table of cell statistics.
RESOLUTIONS = {7: (1_406, 8_000), 5: (9_854, 56_000), 3: (68_979, 200_000)}


class Cells(NamedTuple):
    """The cells of a place, by resolution."""

    cell_3: int
    cell_5: int
    cell_7: int


def cells_of(place: Place) -> Cells:
    """Give the cells that a place lies in."""
    degrees = place.latitude_e7 / 1e7, place.longitude_e7 / 1e7
    return Cells(*(cast(int, h3.latlng_to_cell(*degrees, resolution)) for resolution in (3, 5, 7)))


def disk(place: Place, radius_m: Metres) -> tuple[int, list[int]]:
    """Give a resolution and its cells that cover everything within a radius of a place."""
    resolution, edge_m = next((r, edge) for r, (edge, most) in RESOLUTIONS.items() if radius_m <= most)
    centre = h3.latlng_to_cell(place.latitude_e7 / 1e7, place.longitude_e7 / 1e7, resolution)
    # rings lie at least 1.4 edges apart, also around the grid's twelve pentagons as far as six rings; one more covers the rims
    rings = int(radius_m / (1.4 * edge_m)) + 2
    return resolution, cast("list[int]", h3.grid_disk(centre, rings))
