"""When the sampling rate falls and comes back: the rule alone, on made-up times."""

import numpy as np
import pytest

from tvau_runtime.load import HIGH, LOW, LoadGauge
from tvau_runtime.stream import allowed_halvings


class Machine:
    """A gauge at 4 Hz that is looked at every 0.1 s, with a load as the full rate would make it."""

    def __init__(self, most=2):
        self.now_s = self.idle_s = 0.0
        self.gauge = LoadGauge(4.0, most, 0.0)

    def run(self, load, seconds):
        """Halvings at the end, where the model would be busy for `load` (1: all the time) of every second."""
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            self.idle_s += 0.1 * (1 - min(1.0, load / 2**self.gauge.halvings))
            self.gauge.look(self.now_s, self.idle_s)
        return self.gauge.halvings


def test_falls_step_by_step_while_the_model_does_not_keep_up():
    machine = Machine()
    assert [machine.run(10.0, s) for s in (1.5, 1.0, 2.0, 2.5, 60.0)] == [0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("load", "halvings"), [(0.5, 0), (0.85, 0), (0.95, 1), (1.5, 1), (1.75, 1), (2.0, 2), (9.0, 2)]
)
def test_settles_where_there_is_room_and_stays(load, halvings):
    machine = Machine()
    machine.run(load, 30)
    assert [machine.run(load, 5) for _ in range(20)] == [halvings] * 20


def test_comes_back_when_there_is_room_again():
    machine = Machine()
    assert machine.run(9.0, 14.5) == 2
    assert machine.run(0.3, 9) == 1
    assert machine.run(0.3, 5) == 0
    assert machine.run(9.0, 4.5) == 1


def test_what_makes_it_fall_does_not_bring_it_back():
    assert HIGH / 2 > LOW


def test_never_falls_where_that_is_not_allowed():
    assert Machine(most=0).run(9.0, 60) == 0


def test_one_long_step_counts_as_busy():
    gauge = LoadGauge(4.0, 2, 100.0)
    assert gauge.look(160.0, 0.5)
    assert gauge.halvings == 1


def test_a_high_rate_is_looked_at_once_a_second():
    gauge = LoadGauge(60.0, 2, 0.0)
    assert [gauge.look(t, 0.0) for t in np.arange(1, 22) / 10].count(True) == 2


@pytest.mark.parametrize(
    ("wanted", "rate_hz", "max_gap_s", "allowed"),
    [(2, 4.0, 2.0, 2), (3, 4.0, 2.0, 2), (2, 2.0, 2.0, 1), (2, 1.0, 1.5, 0), (0, 30.0, 2.0, 0), (4, 30.0, 2.0, 4)],
)
def test_two_pairs_never_begin_more_than_a_gap_apart(wanted, rate_hz, max_gap_s, allowed):
    assert allowed_halvings(wanted, rate_hz, max_gap_s) == allowed
