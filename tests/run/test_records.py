"""Records of a run: JSON lines that a resumed run continues, TensorBoard events, label files."""

import csv
import io
import json
import sys
import types

import numpy as np
import pytest
from PIL import Image

from jreid.run.records import Metrics, Window, progress_bar, write_labels, write_table


def lines(folder):
    return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def test_records_are_plain_json_and_a_number_that_is_none_is_null(tmp_path):
    metrics = Metrics(tmp_path, step=0)
    metrics.write(
        2,
        'train',
        'source',
        {'loss': np.float32(1.25), 'ratio': np.nan, 'norm': np.inf},
        timing={'seconds': 3.5},
    )
    metrics.write(3, 'evaluation', 'source', {'mAP': 100 / 3})
    metrics.close()
    assert 'NaN' not in (tmp_path / 'metrics.jsonl').read_text()
    assert lines(tmp_path) == [
        {'step': 2, 'kind': 'train', 'phase': 'source', 'loss': 1.25, 'ratio': None, 'norm': None},
        {'step': 3, 'kind': 'evaluation', 'phase': 'source', 'mAP': 33.3333333},
    ]
    assert json.loads((tmp_path / 'timing.jsonl').read_text()) == {
        'step': 2,
        'phase': 'source',
        'seconds': 3.5,
    }


def test_resumed_run_drops_what_the_killed_one_wrote_after_its_checkpoint(tmp_path):
    metrics = Metrics(tmp_path, step=0)
    metrics.write(1, 'train', 'source', {'loss': 1.0})
    position = metrics.position
    assert position == (tmp_path / 'metrics.jsonl').stat().st_size
    metrics.write(2, 'train', 'source', {'loss': 2.0})
    metrics.close()
    with open(tmp_path / 'metrics.jsonl', 'a') as file:
        file.write('{"step": 3, "kind": "tr')  # killed in the middle of a line
    metrics = Metrics(tmp_path, step=1, position=position)
    assert metrics.position == position
    metrics.write(2, 'train', 'source', {'loss': 4.0})
    metrics.close()
    assert [(record['step'], record['loss']) for record in lines(tmp_path)] == [(1, 1.0), (2, 4.0)]


def test_lost_metrics_file_is_begun_anew(tmp_path):
    metrics = Metrics(tmp_path, step=5, position=1000)
    metrics.write(6, 'train', 'source', {'loss': 1.0})
    metrics.close()
    assert lines(tmp_path)[0]['step'] == 6


@pytest.fixture
def tensorboard(monkeypatch):
    """TensorBoard's readers, without the seconds in which they import TensorFlow."""
    name = 'tensorboard.compat.notf'
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))


def events(folder):
    from tensorboard.backend.event_processing import event_file_loader

    return [
        list(event_file_loader.EventFileLoader(str(path)).Load())
        for path in sorted((folder / 'tensorboard').iterdir())
    ]


def test_tensorboard_reads_the_events(tmp_path, tensorboard):
    metrics = Metrics(tmp_path, step=0)
    clock = {'begun': 1e9, 'seconds': 3.0, 'step_seconds': 2.0, 'images': 90}
    metrics.write(2, 'train', 'source', {'loss': 1.5, 'ratio': np.nan}, timing=clock)
    metrics.write(4, 'evaluation', 'source', {'mAP': 25.0})
    metrics.close()
    resumed = Metrics(tmp_path, step=2)
    resumed.write(3, 'train', 'adapt', {'loss': 0.5})
    resumed.close()
    first, second = events(tmp_path)
    assert first[0].file_version == 'brain.Event:2'
    values = {
        (event.step, value.tag): value.tensor.float_val[0]
        for event in first
        for value in event.summary.value
    }
    assert np.isnan(values.pop((2, 'source/ratio')))
    assert values == {
        (2, 'source/loss'): 1.5,
        (2, 'time/images_per_second'): 45.0,
        (4, 'evaluation/mAP'): 25.0,
    }
    # A start at step 3, the first that comes anew, makes TensorBoard drop the killed run's step 4.
    assert (second[1].session_log.status, second[1].step) == (1, 3)
    assert second[2].summary.value[0].tag == 'adapt/loss'


def test_tensorboard_has_the_config_and_the_figures(tmp_path, tensorboard):
    from tensorboard.plugins.hparams import plugin_data_pb2

    (tmp_path / 'figures').mkdir()
    for name, size in (('ranked', (30, 20)), ('niec_000', (4, 4)), ('niec_001', (5, 4))):
        Image.new('RGB', size).save(tmp_path / 'figures' / f'{name}.png')
    fields = {'seed': 3, 'data.root': 'a|b', 'train.remat': True, 'augment.erase_area': (0.02, 0.4)}
    metrics = Metrics(tmp_path, step=0)
    metrics.config(0, fields)
    metrics.finish(7, tmp_path / 'figures')
    metrics.close()
    (written,) = events(tmp_path)
    values = {value.tag: value for event in written for value in event.summary.value}
    assert '| seed | `3` |' in values['config'].tensor.string_val[0].decode()
    assert "| data.root | `'a\\|b'` |" in values['config'].tensor.string_val[0].decode()
    assert values['config'].metadata.plugin_data.plugin_name == 'text'
    data = plugin_data_pb2.HParamsPluginData.FromString(
        values['_hparams_/session_start_info'].metadata.plugin_data.content
    )
    chosen = data.session_start_info.hparams
    assert chosen['seed'].number_value == 3
    assert chosen['train.remat'].bool_value is True
    assert chosen['augment.erase_area'].string_value == '(0.02, 0.4)'
    assert values['_hparams_/session_end_info'].metadata.plugin_data.plugin_name == 'hparams'
    sizes = {tag: values[tag].tensor.string_val[:2] for tag in values if tag.startswith('figures')}
    assert sizes == {'figures/ranked': [b'30', b'20'], 'figures/niec': [b'5', b'4']}


def test_tensorboard_drops_the_steps_that_were_undone(tmp_path, tensorboard):
    from tensorboard.backend.event_processing import event_accumulator

    for start, steps in ((0, (1, 2, 3, 4)), (2, (3,))):
        metrics = Metrics(tmp_path, step=start)
        for step in steps:
            metrics.write(step, 'train', 'source', {'loss': float(10 * start + step)})
        metrics.close()
    accumulator = event_accumulator.EventAccumulator(str(tmp_path / 'tensorboard')).Reload()
    points = [(e.step, e.value) for e in accumulator.Scalars('source/loss')]
    assert points == [(1, 1.0), (2, 2.0), (3, 23.0)]


def test_other_hosts_write_nothing(tmp_path):
    metrics = Metrics(tmp_path / 'run', step=0, active=False)
    metrics.write(1, 'train', 'source', {'loss': 1.0})
    metrics.config(0, {'seed': 0})
    metrics.finish(1, tmp_path)
    metrics.close()
    assert metrics.position == 0
    assert not (tmp_path / 'run').exists()


def test_label_file_gives_back_paths_and_labels(tmp_path):
    paths = ['/a/with, comma.jpg', '/a/with "quotes".jpg', '/a/ü.jpg']
    write_labels(tmp_path / 'labels' / 'one.csv', paths, np.array([3, -1, 0], np.int32))
    with open(tmp_path / 'labels' / 'one.csv', newline='') as file:
        assert list(csv.reader(file)) == [
            ['image', 'label'],
            [paths[0], '3'],
            [paths[1], '-1'],
            [paths[2], '0'],
        ]
    with pytest.raises(ValueError):
        write_labels(tmp_path / 'labels' / 'one.csv', paths[:2], np.array([3, -1, 0], np.int32))
    # the old file is whole
    assert len((tmp_path / 'labels' / 'one.csv').read_text().splitlines()) == 4


def test_table_file_gives_back_its_numbers(tmp_path):
    table = {'total': np.array([10, 12]), 'accuracy': np.array([1 / 3, np.nan])}
    write_table(tmp_path / 'deep' / 'table.csv', table)
    columns = np.genfromtxt(tmp_path / 'deep' / 'table.csv', delimiter=',', names=True)
    assert columns.dtype.names == ('total', 'accuracy')
    np.testing.assert_array_equal(columns['total'], table['total'])
    np.testing.assert_array_equal(columns['accuracy'], table['accuracy'])
    with pytest.raises(ValueError):
        write_table(tmp_path / 'table.csv', {'a': np.zeros(2), 'b': np.zeros(3)})


def test_window_gives_means_since_the_last_record_also_after_a_resume():
    window = Window()
    window.add({'loss': 1.0, 'kl': 3.0})
    window.add({'loss': 2.0})
    resumed = Window(json.loads(json.dumps(window.sums)))  # as a checkpoint keeps it
    for one in (window, resumed):
        one.add({'loss': 6.0})
        assert one.means() == {'loss': 3.0, 'kl': 3.0}
        assert one.means() == {}


def test_progress_bar_is_silent_on_other_hosts_and_in_files(capsys, monkeypatch):
    for active in (True, False):
        with progress_bar(10, 'one', active=active) as bar:
            bar.update(10)
        assert capsys.readouterr().err == ''
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr('sys.stderr', terminal)
    with progress_bar(10, 'two', initial=4) as bar:
        bar.update(6)
    assert 'two: 100%' in terminal.getvalue()
