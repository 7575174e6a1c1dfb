"""What the wheel and its neighbours say of the project."""

import pathlib
import tomllib

import yaml

import jreid

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']


def test_version_is_one():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert PROJECT['version'] == jreid.__version__ == citation['version']
    assert {'cff-version', 'message', 'title', 'authors'} <= set(citation)
    assert {reference['notes'] for reference in citation['references']} == {
        'DMTNet',
        'DIEN',
        'TJ-AIDL',
        'MTDnet',
        'SSG',
        'PTL',
        'MMT',
        'SpCL',
        'Cluster-Contrast',
    }


def test_types_are_shipped_and_names_that_load_late_are_there():
    assert (ROOT / 'jreid' / 'py.typed').is_file()
    for name in jreid.__all__:
        assert getattr(jreid, name) is not None
    assert set(jreid.__all__) <= set(dir(jreid))


def test_tensorflow_is_asked_for_only_where_it_exists():
    asked = [line for line in PROJECT['dependencies'] if line.startswith('tensorflow')]
    assert len(asked) == 3
    assert all("python_version < '3.14'" in line for line in asked)


def test_urls_lead_to_the_papers_publisher_only():
    assert all(url.startswith('https://doi.org/') for url in PROJECT['urls'].values())
