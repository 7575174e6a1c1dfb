"""`jreid convert` copies arrays; the backbones' own layouts are tested with their weights."""

import numpy as np
from safetensors.numpy import load_file, save_file

from jreid.commands import cli, convert


def test_convert_copies_arrays(tmp_path, capsys):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_file({'w': array}, tmp_path / 'in.safetensors')
    assert (
        cli.main(['convert', str(tmp_path / 'in.safetensors'), str(tmp_path / 'out.safetensors')])
        == 0
    )
    np.testing.assert_array_equal(load_file(tmp_path / 'out.safetensors')['w'], array)
    assert '1 arrays copied' in capsys.readouterr().out
    assert convert.main([str(tmp_path / 'none.pth'), str(tmp_path / 'out.safetensors')]) == 1
    place = tmp_path / 'in.safetensors' / 'out.safetensors'
    assert convert.main([str(tmp_path / 'in.safetensors'), str(place)]) == 1
    assert 'in.safetensors is no folder' in capsys.readouterr().err
