"""Keyed random numbers: splitmix64, independent of each other, with their distributions."""

import collections

import numpy as np
import pytest

from jreid.synthetic import DOMAINS
from jreid.synthetic.draws import Draws, uniforms
from jreid.synthetic.identity import draw_identity
from jreid.synthetic.scene import draw_camera, draw_frame
from jreid.synthetic.textures import wall_texture


def test_uniforms_are_splitmix64():
    """Recomputes the first output from the state that the key folds to."""
    state = (int(Draws(5)._state) + 0x9E3779B97F4A7C15) & (2**64 - 1)
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    assert uniforms(3, 5)[0] == ((state ^ (state >> 31)) >> 11) / 2**53


def test_draws_do_not_depend_on_each_other():
    alone, after = Draws(1, 2, 3), Draws(1, 2, 3)
    after.uniform('another')
    after.normal('a third')
    assert alone.uniform('height') == after.uniform('height')
    assert alone.uniform('height') != alone.uniform('weight')
    assert alone.uniform('height') != Draws(1, 2, 4).uniform('height')


def test_draws_have_their_distributions():
    draws = [Draws(9, k) for k in range(4000)]
    normal = np.array([d.normal('n', 2.0) for d in draws])
    assert abs(normal.mean()) < 0.1
    assert normal.std() == pytest.approx(2.0, rel=0.05)
    chosen = collections.Counter(d.choice('c', 'abc', (1, 3, 0)) for d in draws)
    assert chosen['c'] == 0
    assert chosen['b'] / len(draws) == pytest.approx(0.75, abs=0.03)
    assert sorted(draws[0].order('o', 6)) == list(range(6))
    assert np.mean([d.order('o', 6)[0] for d in draws]) == pytest.approx(2.5, abs=0.1)


def test_no_parameter_shares_a_name(monkeypatch):
    """Two parameters with the same name would be equal."""
    drawn = collections.Counter()
    original = Draws._unit

    def record(self, name, place=1):
        drawn[self._state, name, place] += 1
        return original(self, name, place)

    monkeypatch.setattr(Draws, '_unit', record)
    for domain in DOMAINS.values():
        # Odd people look up their neighbour.
        for person in range(0, 80, 2):
            draw_identity(0, domain, person)
        camera = draw_camera(0, domain, 3)
        for index in range(40):
            draw_frame(0, domain, 5, 3, index, camera)
        for number, wall in enumerate(domain.wall):
            wall_texture(wall, (0, domain.key, number))
    repeated = {name for (_, name, _), count in drawn.items() if count > 1}
    assert not repeated
    assert len({name for _, name, _ in drawn}) > 100
