"""What prompts can name in the street."""

from __future__ import annotations

from ..naming import CARS, CYCLISTS, PERSONS, thing

__all__ = ["THINGS"]

_WALKS, _STANDS = ("person", "walking on the walkway"), ("person", "standing on the walkway")
_RUNS, _LIES, _CROSSES = ("person", "running"), ("person", "lying on the ground"), ("person", "walking on the road")
_DRIVE, _ASTRAY, _PARKED = (
    tuple((kind, deed) for kind in ("car", "van"))
    for deed in ("driving on the road", "driving on the walkway", "parked on the road")
)
_RIDES, _RIDES_ASTRAY = ("bicycle", "riding on the road"), ("bicycle", "riding on the walkway")

THINGS = (
    thing(PERSONS, ["running", "who is running"], "someone running on the walkway", [_RUNS]),
    thing(PERSONS, ["lying on the ground", "who is lying there"], "someone lying down", [_LIES]),
    thing(CARS, ["driving on the walkway", "on the walkway"], "cars and vans on the walkway", _ASTRAY),
    thing(CYCLISTS, ["on the walkway"], "someone riding on the walkway", [_RIDES_ASTRAY]),
    thing(PERSONS, ["walking on the road", "on the road"], "someone walking over the road", [_CROSSES]),
    thing(PERSONS, ["walking on the walkway", "walking there"], "someone walking on a walkway", [_WALKS]),
    thing(PERSONS, ["standing on the walkway", "standing"], "someone standing there", [_STANDS]),
    thing(CARS, ["driving on the road", "driving"], "cars and vans driving on the road", _DRIVE),
    thing(CARS, ["parked on the road", "parked"], "cars and vans parked there", _PARKED),
    thing(CYCLISTS, ["on the road"], "someone riding on the road", [_RIDES]),
    thing(
        ("box", "a box"), ["on the ground", "standing on the walkway", ""], "there is a box",
        [("box", "standing on the walkway")],
    ),
    thing(PERSONS, ["walking"], "people walking", [_WALKS, _CROSSES], broad=True),
    thing(CYCLISTS, [""], "someone riding a bicycle", [_RIDES, _RIDES_ASTRAY], broad=True),
    thing(("van", "a van"), ["", "in the scene"], "what is a van", [_DRIVE[1], _PARKED[1], _ASTRAY[1]], broad=True),
    thing(CARS, [""], "cars and vans", (*_DRIVE, *_PARKED, *_ASTRAY), broad=True),
    thing(PERSONS, [""], "people", [_WALKS, _STANDS, _RUNS, _LIES, _CROSSES], broad=True),
)  # fmt: skip
"""Those with a prompt among the model's own first."""
