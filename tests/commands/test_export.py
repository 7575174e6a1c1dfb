"""`jreid export`: the files of a run agree with its features, and a wrong one is told."""

import dataclasses

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from jreid.commands import cli, export
from jreid.models.weights.onnx import read_onnx
from jreid.run import export as exporting
from jreid.run.loading import load_run


@pytest.fixture
def exported(source_only_run, tmp_path, capsys):
    """Exports the run by the command; gives the file and what was printed."""

    def run(form, name):
        path = tmp_path / name
        words = ['export', str(source_only_run), f'--to={form}', f'--out={path}']
        assert cli.main(words) == 0, capsys.readouterr().err
        return path, capsys.readouterr().out

    return run


def check(run, source_only_run, *, batch):
    model = load_run(source_only_run)
    images = np.random.default_rng(3).integers(0, 256, (batch, *model.image_size, 3), np.uint8)
    features = run(images)
    assert features.shape == (batch, model.dim)
    np.testing.assert_allclose(features, model(images), atol=1e-5 * np.abs(features).max())


def test_stablehlo_has_a_free_batch_for_all_platforms(source_only_run, exported):
    path, text = exported('stablehlo', 'model.stablehlo')
    assert 'parity with the run ok: largest relative difference' in text
    assert jax.export.deserialize(bytearray(path.read_bytes())).platforms == ('cpu', 'cuda', 'tpu')
    for batch in (1, 5):
        check(exporting.run_stablehlo(path), source_only_run, batch=batch)


def test_safetensors_holds_the_weights_by_name(exported):
    path, text = exported('safetensors', 'model.safetensors')
    arrays = load_file(path)
    assert 'weights by name' in text
    assert any(name.startswith('params/backbone/') for name in arrays)
    assert any(name.startswith('batch_stats/backbone/') for name in arrays)


@pytest.mark.slow
def test_savedmodel_serves_the_features(source_only_run, exported):
    pytest.importorskip('tensorflow')
    from jreid.run.savedmodel import run_savedmodel

    path, text = exported('savedmodel', 'saved')
    assert 'parity with the run ok' in text
    check(run_savedmodel(path), source_only_run, batch=4)


@pytest.mark.slow
def test_onnx_runs_elsewhere_with_batch_norm_folded(source_only_run, exported):
    pytest.importorskip('jax2onnx')
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    path, text = exported('onnx', 'model.onnx')
    assert 'parity with the run ok' in text
    for batch in (1, 4):
        check(exporting.run_onnx(path), source_only_run, batch=batch)
    kinds = {node.op_type for node in onnx.load(str(path)).graph.node}
    assert 'BatchNormalization' not in kinds
    assert sum(array.size for array in read_onnx(path).values()) > 1000


def test_a_file_that_disagrees_ends_with_status_1(source_only_run, tmp_path, monkeypatch, capsys):
    whole = export.FORMATS['stablehlo']

    def wrong(path):
        run = whole.read(path)
        return lambda images: 1.001 * run(images)

    monkeypatch.setitem(export.FORMATS, 'stablehlo', dataclasses.replace(whole, read=wrong))
    words = [str(source_only_run), '--to=stablehlo', f'--out={tmp_path / "m.stablehlo"}']
    assert export.main(words) == 1
    error = capsys.readouterr().err
    assert 'parity with the run FAILED, the file is not kept: largest relative' in error
    assert 'difference 1.0e-03' in error
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_answered(source_only_run, tmp_path, monkeypatch, capsys):
    assert export.main([str(source_only_run), '--to=onnx', '--out=m.pb']) == 1
    assert 'expected the suffix .onnx' in capsys.readouterr().err
    assert export.main([str(tmp_path), '--to=stablehlo', '--out=m.stablehlo']) == 1
    assert 'holds no run' in capsys.readouterr().err
    monkeypatch.setitem(exporting.__dict__, 'importlib', Lacking)
    assert export.main([str(source_only_run), '--to=onnx', f'--out={tmp_path / "m.onnx"}']) == 1
    assert "pip install 'jreid[export]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


class Lacking:
    @staticmethod
    def import_module(name):
        raise ImportError(name)


def test_features_of_a_run_take_a_file_and_an_array_alike(source_only_run, people):
    model = load_run(source_only_run, batch=4)
    file = sorted((people / 'two' / 'query').glob('*.jpg'))[0]
    first, empty = model(file), model([])
    assert first.shape == (1, model.dim)
    assert empty.shape == (0, model.dim)
    embed, config = load_run(source_only_run)
    assert (config.data.height, config.data.width) == model.image_size
    np.testing.assert_allclose(embed([file] * 3), np.repeat(first, 3, 0), rtol=1e-5, atol=1e-6)
