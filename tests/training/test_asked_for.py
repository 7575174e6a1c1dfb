"""Errors of data sets say which fields of the config asked for the set."""

import pytest

from jreid.configs import demo
from jreid.training.data import open_data


@pytest.mark.parametrize('role', ['source', 'target'])
@pytest.mark.parametrize('field', ['root', 'own'])
def test_error_of_a_set_names_the_fields(tmp_path, role, field):
    settings = demo.get_config('source-only').data
    with settings.unlocked():
        settings[role] = 'market1501'
        settings[f'{role}_options'] = {}
        settings['root' if field == 'root' else f'{role}_root'] = str(tmp_path)
    name = 'root' if field == 'root' else f'{role}_root'
    with pytest.raises(FileNotFoundError) as caught:
        open_data(settings, select_on_source=False)
    lines = str(caught.value).splitlines()
    assert lines[-1] == f"  asked for by data.{role}='market1501', data.{name}={str(tmp_path)!r}"
    assert lines[0] == 'Market-1501 was not found. Looked in'


def test_wrong_option_names_the_fields(tmp_path):
    settings = demo.get_config('source-only').data
    with settings.unlocked():
        settings.source, settings.source_root = 'folder', str(tmp_path)
        settings.source_options = {'layout': 'people'}
    with pytest.raises(
        ValueError,
        match=r"layout is 'people'(?s:.*)data.source_options={'layout': 'people'} \(.*={} clears",
    ):
        open_data(settings, select_on_source=False)
