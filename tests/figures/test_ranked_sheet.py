"""Ranked sheets: colours and places of the cells, captions, and the choice of queries."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from jreid.figures import pick_queries, ranked_sheet
from jreid.figures.canvas import BLUE, GREEN, VERMILLION
from jreid.figures.ranked import FRAME, GAP, LINE

COLOURS = {'red': (200, 10, 10), 'lime': (10, 200, 10), 'grey': (90, 90, 90), 'navy': (10, 10, 120)}


@pytest.fixture
def files(tmp_path):
    """Writes images of one colour each, of various sizes, with the proportions of a cell."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for number, (name, colour) in enumerate(COLOURS.items(), 1):
        Image.new('RGB', (16 * number, 32 * number), colour).save(folder / f'{name}.png')
    return {name: str(folder / f'{name}.png') for name in COLOURS}


def cells(
    image: np.ndarray, row: int, column: int, *, captions: int = 0, head: int = GAP
) -> tuple[tuple, tuple]:
    """Returns the colours of the frame and of the middle of a cell; column 0 is the query."""
    x = GAP + column * (64 + 2 * FRAME + GAP) + (2 * GAP if column else 0)
    y = head + row * (128 + 2 * FRAME + GAP + LINE + captions * LINE) + LINE
    return tuple(image[y + 64, x + 1]), tuple(image[y + FRAME + 64, x + FRAME + 32])


def test_frames_images_and_gaps(tmp_path, files):
    ranked = [[files['lime'], files['grey'], files['navy']], [files['navy'], None, None]]
    correct = [[True, False, True], [False, None, None]]
    path = ranked_sheet(tmp_path / 'sheet.png', [files['red'], files['grey']], ranked, correct)
    with Image.open(path) as sheet:
        assert sheet.size == (
            GAP + 4 * (64 + 2 * FRAME + GAP) + 2 * GAP,
            GAP + 2 * (128 + 2 * FRAME + GAP + LINE),
        )
        pixels = np.asarray(sheet)
    blue, green, red = (ImageColor.getrgb(colour) for colour in (BLUE, GREEN, VERMILLION))
    assert cells(pixels, 0, 0) == (blue, COLOURS['red'])
    assert cells(pixels, 0, 1) == (green, COLOURS['lime'])
    assert cells(pixels, 0, 2) == (red, COLOURS['grey'])
    assert cells(pixels, 0, 3) == (green, COLOURS['navy'])
    assert cells(pixels, 1, 0) == (blue, COLOURS['grey'])
    assert cells(pixels, 1, 1) == (red, COLOURS['navy'])
    assert cells(pixels, 1, 2) == ((255, 255, 255), (255, 255, 255))


def test_the_sheet_stops_at_the_top(tmp_path, files):
    names = [files['lime']] * 15
    wide = ranked_sheet(tmp_path / 'ten.png', [files['red']], [names], np.zeros((1, 15), bool))
    narrow = ranked_sheet(
        tmp_path / 'two.png', [files['red']], [names], np.zeros((1, 15), bool), top=2, cell=(64, 32)
    )
    with Image.open(wide) as ten, Image.open(narrow) as two:
        assert ten.width == GAP + 11 * (64 + 2 * FRAME + GAP) + 2 * GAP
        assert two.size == (
            GAP + 3 * (32 + 2 * FRAME + GAP) + 2 * GAP,
            GAP + 64 + 2 * FRAME + GAP + LINE,
        )


def test_captions_stay_under_their_image(tmp_path, files):
    ranked, correct = [[files['lime'], files['navy']]], [[True, False]]
    identities, cameras = (['a rather long identity'], [['5', '']]), ([0], [[1, 2]])
    path = ranked_sheet(
        tmp_path / 'sheet.png',
        [files['red']],
        ranked,
        correct,
        identities=identities,
        cameras=cameras,
        title='a title',
    )
    again = ranked_sheet(
        tmp_path / 'again.png',
        [files['red']],
        ranked,
        correct,
        identities=identities,
        cameras=cameras,
        title='a title',
    )
    assert path.read_bytes() == again.read_bytes()
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet).astype(int)
    head = GAP + LINE + 10
    assert pixels.shape[0] == head + 128 + 2 * FRAME + GAP + 3 * LINE
    below = pixels[head + LINE + 128 + 2 * FRAME :]
    assert (below[:, : GAP + 64 + 2 * FRAME] < 128).any()
    assert (below[:, GAP + 64 + 2 * FRAME : 3 * GAP + 64 + 2 * FRAME] == 255).all()


def test_grey_images_and_other_proportions(tmp_path):
    Image.new('L', (100, 50), 40).save(tmp_path / 'wide.png')
    path = ranked_sheet(
        tmp_path / 'sheet.png', [tmp_path / 'wide.png'], [[tmp_path / 'wide.png']], [[True]]
    )
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    x, y = GAP + FRAME + 32, GAP + LINE + FRAME
    assert tuple(pixels[y + 64, x]) == (40, 40, 40)
    assert tuple(pixels[y + 10, x]) == (255, 255, 255)  # the image keeps its proportions


@pytest.mark.parametrize(
    ('queries', 'ranked', 'correct', 'options', 'message'),
    [
        ([], [], [], {}, 'found 0 queries'),
        (['q'], [['a'], ['b']], [[True]], {}, 'found 1 queries, 2 ranked rows and 1 rows of flags'),
        (['q'], [['a', 'b']], [[True]], {}, 'row 0 has 2 ranked images and 1 flags'),
        (['q'], [['a', 'b']], [[True, None]], {}, "row 0 has no flag at rank 2 for 'b'"),
        (['q'], [['a']], [[True]], {'identities': ([1, 2], [[1]])}, 'identities has 2 queries'),
        (
            ['q'],
            [['a']],
            [[True]],
            {'cameras': ([1], [[]])},
            r'cameras has 1 queries and rows of \[0\]; expected 1 and rows of \[1\]',
        ),
    ],
)
def test_refused_rows(tmp_path, queries, ranked, correct, options, message):
    with pytest.raises(ValueError, match=message):
        ranked_sheet(tmp_path / 'sheet.png', queries, ranked, correct, **options)
    with pytest.raises(FileNotFoundError, match='nowhere'):
        ranked_sheet(tmp_path / 'sheet.png', ['nowhere.jpg'], [['nowhere.jpg']], [[True]])
    assert not list(tmp_path.iterdir())


def test_real_images(tmp_path, shared_data):
    images = sorted((shared_data / 'pku').glob('001_*.jpg'))[:6]
    path = ranked_sheet(tmp_path / 'sheet.png', images[:1], [images[1:]], [[True] * 5])
    with Image.open(path) as sheet:
        assert np.asarray(sheet).std() > 30


def test_pick_best_median_worst():
    scores = np.array([0.9, 0.1, 0.5, np.nan, 0.8, 0.2, 0.45, 0.55, 0.95])
    assert scores[pick_queries(scores, 6)].tolist() == [0.95, 0.9, 0.55, 0.5, 0.2, 0.1]
    assert scores[pick_queries(scores, 1)].tolist() == [0.95]
    assert scores[pick_queries(scores, 2)].tolist() == [0.95, 0.1]
    assert sorted(pick_queries(scores, 100).tolist()) == [0, 1, 2, 4, 5, 6, 7, 8]


@pytest.mark.parametrize('size', range(1, 14))
def test_picks_are_distinct_and_ordered(size):
    scores = np.random.default_rng(size).random(size)
    for count in range(1, 15):
        rows = pick_queries(scores, count)
        assert len(set(rows.tolist())) == len(rows) == min(size, count)
        assert (np.diff(scores[rows]) < 0).all()
        assert scores.max() == scores[rows[0]]


def test_ties_fall_by_the_seed():
    flags = np.array([True] * 30 + [False] * 10)
    first = pick_queries(flags, 9, 1)
    np.testing.assert_array_equal(first, pick_queries(flags, 9, 1))
    assert not np.array_equal(first, pick_queries(flags, 9, 2))
    assert flags[first].tolist() == [True] * 6 + [False] * 3


@pytest.mark.parametrize(
    ('scores', 'count', 'message'),
    [([], 3, r'found 0 queries.*\(0,\)'), ([np.nan], 3, 'found 0'), ([0.5], 0, 'count is 0')],
)
def test_no_queries(scores, count, message):
    with pytest.raises(ValueError, match=message):
        pick_queries(scores, count)
