"""`--config` by name or path, from a folder that has never seen the repository."""

import pytest

from jreid import configs

WRONG = '--config.sed=1'
ANSWER = 'the config has no field sed'


@pytest.mark.parametrize(
    'words',
    [
        ['--config=demo'],
        ['--config', 'duke2market:mtwcnet'],
        ['--config=configs/duke2market.py:mtwcnet'],
        ['--config', 'jreid/configs/demo.py'],
    ],
)
def test_configs_of_the_package_are_found_from_an_empty_folder(program, tmp_path, words):
    code, output = program('jreid.main', *words, WRONG, cwd=tmp_path)
    assert (code, output.startswith(ANSWER)) == (2, True), output


def test_a_folder_configs_of_the_users_hides_nothing_and_is_used(program, tmp_path):
    """Its files go before ours of the same path; ours are there by name, and to import."""
    own = tmp_path / 'configs'
    own.mkdir()
    (own / '__init__.py').write_text('')
    (own / 'base.py').write_text('raise RuntimeError("this base is not ours")\n')
    (own / 'demo.py').write_text(
        'from jreid.configs import base, demo\n'
        'from configs.beside import SEED\n\n\n'
        'def get_config(variant="dmtnet"):\n'
        '    config = demo.get_config(variant)\n'
        '    with config.unlocked():\n'
        '        config.mine = SEED\n'
        '    return config\n'
    )
    (own / 'beside.py').write_text('SEED = 3\n')
    for config, message in (
        ('configs/demo.py', 'No such flag: mine'),
        ('demo', 'no field mine'),
        ('duke2market', 'no field mine'),
        ('configs/duke2market.py', 'no field mine'),
    ):
        code, output = program('jreid.main', f'--config={config}', '--config.mine=x', cwd=tmp_path)
        assert code == 2
        # The field is there, and wants a number.
        expected = "invalid literal for int() with base 10: 'x'" if 'such' in message else message
        assert expected in output, output


def test_names_and_paths_lead_to_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = configs.files()
    assert {'demo', 'duke2market', 'teacher_parsing'} <= set(files)
    assert not {'base', 'variants', '__init__'} & set(files)
    assert configs.find('configs/demo.py') == files['demo'] == configs.find('demo')
    (tmp_path / 'demo.py').touch()
    assert str(configs.find('demo.py')) == 'demo.py'
    assert configs.find('demo') == files['demo']
    for word in ('elsewhere/demo.py', 'configs/base.py', 'base', ''):
        with pytest.raises(FileNotFoundError, match='does not exist'):
            configs.find(word)
    with pytest.raises(FileNotFoundError, match=r'did you mean duke2market\?'):
        configs.find('duke2markt')
    assert configs.title(files['duke2market']).startswith('Duke to Market')
    assert configs.title(tmp_path / 'demo.py') == ''
