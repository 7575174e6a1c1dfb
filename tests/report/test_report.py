"""What the page holds, and that it is one file."""

import base64
import io
import json
import pathlib
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from jreid.evaluation import pseudo_labels
from jreid.report import command, gather, page, people, thumbnails


def embedded(text, name):
    return json.loads(
        re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)[
            1
        ]
    )


def test_page_of_two_runs_holds_all_of_them(runs, tmp_path, capsys):
    assert (
        command.main([*map(str, runs), '--out', str(tmp_path / 'page.html'), '--height', '40']) == 0
    )
    assert 'page.html (0.' in capsys.readouterr().out
    text = (tmp_path / 'page.html').read_text()
    data, pictures = embedded(text, 'data'), embedded(text, 'pictures')
    first = data['runs'][0]
    assert [run['name'] for run in data['runs']] == ['a/run', 'b/run']
    assert data['differ'] == ['method.learning_rate', 'seed']
    assert first['rows']['adapted']['mAP'] == 40.0
    assert first['cmc'] == {'adapted': [0.95, 0.97, 1.0]}
    assert first['verification']['adapted']['histogram']['same'] == [0, 18, 2, 0]
    assert first['sweeps'][0]['total'] == [7, 9, 12]
    assert first['sweeps'][0]['accuracy'] == [0.9, 0.8, 0.7]
    assert first['sweeps'][0]['silhouette'] == [0.1, 0.2, None]
    assert [first['sweeps'][0][name] for name in ('chosen', 'source', 'truth')] == [9, 6, 12]
    assert {one['name']: one['y'][-1] for one in first['curves']['panels']['loss']} == {
        'loss': 0.1,
        'matching': 6.6667,
    }
    assert [one['name'] for one in first['curves']['panels']['score']] == [
        'mAP',
        'rank-1',
        'source only + AdaBN, rank-1',
    ]
    assert [event['what'] for event in first['curves']['events'] if event['at'] == 20] == [
        'phase adapt',
        'refresh',
    ]
    assert len(first['ranked']['queries']) == 60
    assert [i for i, query in enumerate(first['ranked']['queries']) if not query['right'][0]] == [
        3,
        17,
        42,
    ]
    assert first['clusters']['outside']['count'] == 3
    assert [(one['label'], one['count']) for one in first['clusters']['clusters']] == [
        (0, 3),
        (1, 3),
        (2, 3),
    ]
    assert first['attributes'][0]['body'] == [['hat', [20.0, 81.25, None, 40.0]]]
    assert [one.get('purity') for one in first['clusters']['clusters']] == [1.0, 0.6666666, None]
    assert first['ranked']['cameras'][0] == {
        'camera': 0,
        'queries': 24,
        'mAP': 97.92,
        'rank1': 95.83,
    }
    assert sum(first['ranked']['histogram']) == 60
    assert [first['ranked']['histogram'][i] for i in (10, 19)] == [3, 57]
    # The images of both runs, each once: six of the gallery and six queries.
    assert len(pictures) == len(data['paths']) == 12
    with Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as image:
        assert image.size == (20, 40)


def test_page_needs_nothing_from_outside(runs, tmp_path):
    text = command.report([runs[0]], tmp_path / 'one.html').read_text()
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', text)
    assert not re.findall(r'@import|url\(|fetch\(|XMLHttpRequest', text)
    # A name in the data closes none.
    assert text.count('</script>') == 2 + len(page.SCRIPTS)
    assert '&lt;/script&gt;' in re.search('<title>(.*?)</title>', text)[1]


def test_limits_bound_what_is_shown(runs, tmp_path):
    text = command.report(
        [runs[0]], tmp_path / 'small.html', queries=7, top=2, clusters=2, cluster_images=1
    ).read_text()
    first = embedded(text, 'data')['runs'][0]
    assert len(first['ranked']['queries']) == 7
    assert first['ranked']['total'] == 60
    assert {len(query['images']) for query in first['ranked']['queries']} == {2}
    assert len(first['clusters']['clusters']) == 2
    assert {len(one['images']) for one in first['clusters']['clusters']} == {1}
    bare = command.report([runs[0]], tmp_path / 'none.html', images=False).read_text()
    assert embedded(bare, 'pictures') == embedded(bare, 'data')['paths'] == []
    assert embedded(bare, 'data')['runs'][0]['tsne'] is None


def test_queries_are_taken_evenly_over_their_scores():
    scores = np.asarray([0.9, np.nan, 0.1, 0.5, 0.3, 0.7])
    # the lowest, the middle, the highest
    np.testing.assert_array_equal(people.even(scores, 3), [0, 2, 3])
    np.testing.assert_array_equal(people.even(scores, 0), np.arange(6))
    np.testing.assert_array_equal(people.even(scores, 6), np.arange(6))


def test_unreadable_images_are_left_blank(tmp_path):
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    pictures, missing = thumbnails.encode(
        [str(tmp_path / 'broken.jpg'), str(tmp_path / 'missing.jpg')]
    )
    assert pictures == ['', '']
    assert [path.rsplit('/', 1)[1] for path in missing] == ['broken.jpg', 'missing.jpg']


def test_numbers_that_are_not_finite_are_no_json():
    with pytest.raises(ValueError, match='not JSON compliant'):
        page.render('t', {'x': float('nan')}, [])


def test_queries_without_a_match_are_in_no_table_of_cameras():
    ranking = SimpleNamespace(
        average_precision=np.asarray([0.5, np.nan, np.nan]),
        query_camera=np.asarray([0, 0, 1]),
        correct=np.asarray([[True], [False], [False]]),
    )
    assert people.by_camera(ranking) == [{'camera': 0, 'queries': 1, 'mAP': 50.0, 'rank1': 100.0}]
    assert people.histogram(np.asarray([np.nan])) is None
    assert people.histogram(np.asarray([0.0, 0.5, 1.0]), bins=2) == [1, 2]


@pytest.mark.parametrize(
    ('name', 'refreshes', 'true', 'expected'),
    [
        ('niec_001', [{}, {'clusters': 9.0, 'identities_estimated': 3.0}], None, (9, 6, None)),
        ('niec_002', [{}, {'clusters': 9.0, 'identities_estimated': 3.0}], 4, (None, None, None)),
        ('niec_000', [{'identities_estimated': 3.0}], 4, (None, None, None)),
    ],
)
def test_a_sweep_is_marked_by_its_own_refresh(name, refreshes, true, expected):
    found = gather.chosen({}, pathlib.Path(f'{name}.csv'), refreshes, true)
    assert (found['chosen'], found['source'], found['truth']) == expected


def test_a_sweep_of_witnesses_says_itself_what_was_chosen(tmp_path):
    path = tmp_path / 'niec_000.csv'
    path.write_text(
        'total,silhouette,chosen,source,within,densest\n'
        '10,0.1,12,8,12,13\n11,0.3,12,8,12,13\n12,0.2,12,8,12,13\n13,0.1,12,8,12,13\n'
    )
    # The record of another system counts the clusters that are kept, not the estimate.
    found = gather.chosen(gather.sweep(path), path, [{'identities_estimated': 2.0}], 5)
    assert 'accuracy' not in found
    names = ('chosen', 'source', 'truth', 'within', 'densest')
    assert [found[name] for name in names] == [12, 8, 13, 12, 13]


def test_purity_of_clusters_against_counts_by_hand():
    paths = np.asarray([f'/data/{i}.jpg' for i in range(7)])
    truth = SimpleNamespace(path=paths, identity=np.asarray([5, 5, 6, 6, 6, 7, -1]))
    images = SimpleNamespace(path=paths[::-1])
    labels = np.asarray([0, 3, 3, 3, 0, 0, -1])
    # Of the images 6 to 0: the first has no identity, the last no label.
    found = pseudo_labels.cluster_purity(truth, images, labels)
    assert found['label'].tolist() == [0, 3]
    assert found['images'].tolist() == [2, 3]
    assert found['people'].tolist() == [2, 2]
    np.testing.assert_allclose(found['purity'], [1 / 2, 2 / 3])
    unknown = SimpleNamespace(path=paths, identity=np.full(7, -1))
    assert pseudo_labels.cluster_purity(unknown, images, labels) == {}


def test_a_table_of_clusters_that_is_none_is_named(tmp_path):
    assert people.purity(tmp_path / 'missing.csv') == {}
    (tmp_path / 'wrong.csv').write_text('label,images\n0,3\n')
    with pytest.raises(ValueError, match='expected the columns label,images,people,purity'):
        people.purity(tmp_path / 'wrong.csv')


@pytest.mark.parametrize(
    ('arguments', 'code', 'message'),
    [(['nowhere'], 1, 'holds no finished run'), (['.', '--height', '0'], 2, '--height is 0')],
)
def test_wrong_arguments_are_answered(arguments, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        status = command.main(arguments)
    except SystemExit as error:
        status = error.code
    assert status == code
    assert message in capsys.readouterr().err


def test_numbers_of_the_style_suit_a_phone():
    """Where no browser is installed; `test_report_views.py` measures the page in one."""
    folder = pathlib.Path(page.__file__).parent
    style, charts = ((folder / name).read_text() for name in ('page.css', 'charts.js'))
    rules = dict(re.findall(r'^([^\s@}][^{}]*?) \{\n(.*?)\n\}', style, re.MULTILINE | re.DOTALL))
    assert int(re.search(r'font-size: (\d+)px', rules['svg text'])[1]) >= 12
    # A chart is as wide as its place, so its words are not scaled: 390 pixels less both margins.
    assert int(re.search(r'NARROW = (\d+)', charts)[1]) <= 390 - 2 * 16
    assert 'viewBox: `0 0 ${W} ${H}`' in charts
    assert 'scroll-margin-top: calc(var(--header' in rules['section']
    assert 'overflow-wrap: break-word' in rules['.cell']
    assert 'min-width' in rules['td.left']  # where words may break anywhere
    narrow = style[style.index('@media (max-width: 40rem)') :]
    assert re.search(r'nav \{[^}]*flex-wrap: nowrap[^}]*overflow-x: auto', narrow)
    assert re.search(r'h1 \{[^}]*text-overflow: ellipsis', narrow)


@pytest.mark.parametrize(
    'path', sorted(pathlib.Path(page.__file__).parent.glob('*.*')), ids=lambda path: path.name
)
def test_a_file_of_the_page_has_at_most_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400
