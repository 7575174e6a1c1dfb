"""People: their attributes, their twins, and the figures built of them."""

import numpy as np
import pytest

from jreid.synthetic import DOMAINS
from jreid.synthetic.body import build_figure, vertex_normals
from jreid.synthetic.colours import LOWER_COLOURS, UPPER_COLOURS
from jreid.synthetic.domains import PLAZA
from jreid.synthetic.identity import STRANGERS, attributes, draw_identity
from jreid.synthetic.mesh import load_mesh
from jreid.synthetic.plan import FIRST_TEST_IDENTITY
from jreid.synthetic.raster import rasterise


def test_attributes_are_the_fields():
    for person in (draw_identity(3, domain, k) for domain in DOMAINS.values() for k in range(60)):
        row = attributes(person)
        assert len(row) == 27
        assert row['age'] == person.body.age + 1
        assert row['gender'] == person.body.female
        assert row['backpack'] == (person.carried.backpack is not None)
        assert row['clothes'] == (not person.bottom.dress)
        assert [c for c in UPPER_COLOURS if row[f'up{c}']] == [person.top.colour_name]
        assert [c for c in LOWER_COLOURS if row[f'down{c}']] == [person.bottom.colour_name]
        assert row['up'] == (person.top.sleeve_end < 1.5)
        assert row['down'] == (
            (person.bottom.skirt_length if person.bottom.dress else person.bottom.leg_end) < 1
        )


def test_attributes_follow_the_domain():
    shares = {}
    for name, domain in DOMAINS.items():
        rows = [attributes(draw_identity(0, domain, k)) for k in range(400)]
        shares[name] = {
            field: np.mean([row[field] for row in rows])
            for field in ('up', 'down', 'backpack', 'upblack')
        }
    assert shares['plaza']['backpack'] == pytest.approx(PLAZA.backpack, abs=0.06)
    assert shares['plaza']['up'] > 0.5 > shares['campus']['up']
    assert shares['plaza']['down'] > shares['station']['down'] > shares['campus']['down']
    assert shares['campus']['upblack'] > shares['plaza']['upblack'] + 0.05


def test_twins_share_clothes_but_not_bodies():
    people = [draw_identity(0, DOMAINS['campus'], k) for k in range(200)]
    same = [
        (a, b)
        for a, b in zip(people[::2], people[1::2], strict=True)
        if np.array_equal(b.top.colour, a.top.colour * 1.05)
    ]
    assert 20 <= len(same) <= 50
    assert all(a.top.kind == b.top.kind and a.bottom.short == b.bottom.short for a, b in same)
    assert all(a.body.height != b.body.height for a, b in same)
    assert FIRST_TEST_IDENTITY % 2 == 0
    assert FIRST_TEST_IDENTITY < STRANGERS


def test_figures_are_closed_and_human():
    mesh = load_mesh()
    normals = vertex_normals(mesh.shapes[0], mesh.body_triangles)
    middle = np.array([0, 1.2, 0])
    chest = (
        (np.abs(mesh.position[: mesh.body_size, 1] - 1.2) < 0.1)
        & (mesh.arm[: mesh.body_size] <= 0)
        & (mesh.layer[: mesh.body_size] == 0)
    )
    outwards = ((mesh.shapes[0] - middle) * normals)[chest].sum(1)
    assert (outwards > 0).mean() > 0.95
    for k in range(20):
        person = draw_identity(0, DOMAINS['station'], k)
        figure = build_figure(person)
        assert figure.points[:, 1].max() == pytest.approx(person.body.height, abs=0.06)
        np.testing.assert_allclose(figure.weights.sum(1), 1, atol=1e-5)
        assert figure.triangles.max() == len(figure.points) - 1


def test_rasterise_agrees_with_barycentric_loops():
    rng = np.random.default_rng(0)
    height, width = 24, 20
    x, y = rng.uniform(-5, 25, 36).astype(np.float32), rng.uniform(-5, 29, 36).astype(np.float32)
    depth = rng.uniform(1, 5, 36).astype(np.float32)
    triangles, two_sided = np.arange(36).reshape(12, 3), np.arange(12) % 2 == 0
    expected = np.full((height, width), -1)
    nearest = np.full((height, width), np.inf)
    for t, corners in enumerate(triangles):
        edge = np.array([x[corners], y[corners], np.ones(3)], np.float64)
        if np.linalg.det(edge) < 0 and not two_sided[t]:
            continue
        for row in range(height):
            for column in range(width):
                weight = np.linalg.solve(edge, [column + 0.5, row + 0.5, 1])
                z = weight @ depth[corners]
                if weight.min() >= 0 and z < nearest[row, column]:
                    nearest[row, column], expected[row, column] = z, t
    pixel, triangle, u, v = rasterise(x, y, depth, triangles, two_sided, height, width)
    shown = np.full(height * width, -1)
    shown[pixel] = triangle
    # An edge through a pixel's centre may differ.
    assert (shown.reshape(height, width) != expected).sum() <= 1
    corner = triangles[triangle]
    np.testing.assert_allclose(
        x[corner[:, 0]] * u + x[corner[:, 1]] * v + x[corner[:, 2]] * (1 - u - v),
        pixel % width + 0.5,
        atol=1e-3,
    )
