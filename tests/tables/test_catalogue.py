"""The papers' numbers as jreid ships them, and the variant of each row."""

import json
import pathlib

import pytest

from jreid.configs import variants
from jreid.tables import catalogue, jobs

TABLES = catalogue.tables()
ROOT = pathlib.Path(__file__).resolve().parents[2]


def leaves(tree):
    """All numbers of a nested dictionary."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value)
        elif value is not None and name in catalogue.METRICS:
            yield float(value)


def test_every_number_of_the_file_is_in_a_table_once():
    targets = json.loads((ROOT / 'jreid' / 'tables' / 'targets.json').read_text())
    read = [
        value
        for table in TABLES.values()
        for row in table.rows
        for numbers in row.paper.values()
        for value in numbers.values()
    ]
    assert sorted(read) == sorted(leaves(targets))
    assert len(read) > 500


def test_shipped_numbers_are_those_of_the_design(shared_data):
    design = shared_data.parent / 'design' / 'targets.json'
    if not design.is_file():
        pytest.skip(f'{design} is missing')
    shipped, of_design = (
        json.loads(path.read_text()) for path in (ROOT / 'jreid/tables/targets.json', design)
    )
    # The rows of DIEN's table II that jreid has; the design lists the others' alone.
    for targets in (shipped, of_design):
        for rows in targets['DIEN']['table 2 (others)'].values():
            for name in ('TJ-AIDL', 'ours (T=3)'):
                rows.pop(name, None)
    assert shipped == of_design


@pytest.mark.parametrize(
    ('table', 'row', 'variant', 'pair', 'metric', 'value'),
    [
        ('dmtnet-2', 'DMTNet', 'dmtnet', 'duke2market', 'mAP', 42.3),
        ('dmtnet-3', 'DMTNet+ReRanking', 'dmtnet-reranking', 'market2duke', 'rank-1', 74.1),
        ('tjaidl-1', 'TJ-AIDL', 'tjaidl', 'market2prid', 'rank-1', 26.8),
        ('tjaidl-4', 'w Adaptation', 'tjaidl', 'market2duke', 'rank-20', 70.0),
        ('dien-1', 'Base+CCCDTL+DC+RTDA (T=4)', 'dien-t4', 'duke2market', 'rank-10', 81.5),
        ('dien-2', 'ours (T=3)', 'dien', 'market2duke', 'mAP', 26.4),
        ('dien-2', 'TJ-AIDL', 'tjaidl', 'duke2market', 'rank-5', 74.8),
        ('ptl-4', 'BL+Attr^t (PETA, soft)', 'ptl-attr-t', 'market2cuhk03', 'mAP', 18.9),
        ('ptl-5', 'PTL+SSG', 'ptl-ssg', 'cuhk032duke', 'rank-1', 75.6),
        ('ptl-5', 'SSG', 'ssg-2019', 'duke2market', 'mAP', 58.3),
    ],
)
def test_rows_by_hand(table, row, variant, pair, metric, value):
    line = next(r for r in TABLES[table].rows if r.name == row)
    assert (line.variant, line.reason) == (variant, '')
    assert line.paper[pair][metric] == value


@pytest.mark.parametrize('table', TABLES)
def test_every_row_has_a_variant_or_a_reason(table):
    for row in TABLES[table].rows:
        assert bool(row.variant) != bool(row.reason), row
        if row.name in catalogue.CITED:
            assert 'cited' in row.reason
        elif row.reason:
            # jreid has all rows of a system or none.
            names = [one.name for one in TABLES[table].rows if one.variant]
            assert not names, f'{row.name} of {table} has no variant, but {names} have'
        else:
            assert row.variant in variants.VARIANTS


@pytest.mark.parametrize('table', TABLES)
def test_every_variant_resolves_to_a_config_of_its_pair(table, tmp_path):
    planned, without = jobs.plan([TABLES[table]], workdir=tmp_path, seeds=(0,))
    assert {row for _, row in without} <= {row.name for row in TABLES[table].rows if row.reason}, (
        without
    )
    for job in planned:
        assert job.config.variant == variants.training_of(job.row.variant)
        assert job.config.seed == 0
    wanted = {
        (pair, variants.summary_of(row.variant))
        for row in TABLES[table].rows
        if row.variant
        for pair in TABLES[table].pairs
        if pair in {**row.paper, **row.notes}
    }
    assert {(job.pair, job.folder.parent.name) for job in planned} == wanted


@pytest.mark.parametrize('pair', ['demo', 'ward2pku'])
def test_every_row_runs_on_the_pairs_that_need_no_data_of_the_papers(pair, tmp_path):
    planned, without = jobs.plan(list(TABLES.values()), workdir=tmp_path, pairs=[pair], seeds=(0,))
    planned_variants = {job.folder.parent.name for job in planned}
    rows = [row for table in TABLES.values() for row in table.rows]
    wanted = {variants.summary_of(row.variant) for row in rows if row.variant}
    assert planned_variants == wanted - {'ptl-attr-t-rap'}
    assert 'RAP' in without[pair, 'BL+Attr^t (RAP, soft)']
    assert len({job.folder for job in planned}) == len(planned)


def test_variants_that_are_the_same_are_names_of_one_row(tmp_path):
    planned, _ = jobs.plan(
        [TABLES['dien-1']], workdir=tmp_path, pairs=['demo'], rows=['dien-t3', 'dien-t2']
    )
    assert [job.folder.parent.name for job in planned] == ['dien-t2', 'dien']
    with pytest.raises(ValueError, match=r"'dien-t33' is in none .* \(did you mean 'dien-t3'\?\)"):
        jobs.plan([TABLES['dien-1']], workdir=tmp_path, pairs=['demo'], rows=['dien-t33'])


def test_unknown_table_is_answered_with_those_that_exist():
    with pytest.raises(
        ValueError,
        match=r"'dien-3' does not exist \(did you mean 'dien-[12]'\?\); there are: dmtnet-1, ",
    ):
        catalogue.get('dien-3')
