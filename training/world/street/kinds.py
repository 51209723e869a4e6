"""The street's kinds: of anomaly, of normal life, and of things. Words only."""

__all__ = ["ANOMALIES", "KINDS", "NORMALITIES"]

ANOMALIES = (
    "person running",
    "person lying on the ground",
    "car driving on the walkway",
    "person riding a bicycle on the walkway",
    "person walking on the road",
)
"""The kinds of anomaly, as word prompts."""

NORMALITIES = (
    "person walking on the walkway",
    "person standing on the walkway",
    "car driving on the road",
    "car parked on the road",
    "person riding a bicycle on the road",
    "box on the ground",
    "empty road",
)
"""What normal life is made of, as word prompts."""

KINDS = ("person", "car", "van", "bicycle", "box")
