"""Numbers of finished runs beside the paper's, and their text."""

from jreid.tables import catalogue, results, writing


def test_summary_row_of_a_variant():
    rows = {
        'source_only': {'mAP': 1.0},
        'adabn': {'mAP': 2.0},
        'timing': {'seconds': 1},
        'adapted': {'mAP': 3.0},
        'adapted_reranked': {'mAP': 4.0},
    }
    assert results.summary_row(rows, reranked=False)['mAP'] == 3
    assert results.summary_row(rows, reranked=True)['mAP'] == 4
    rows['adapted'] |= {'rank1': 9.0, 'single_shot': {'rank1': 8.0, 'repeats': None}}
    assert results.summary_row(rows, reranked=False)['rank1'] == 8
    del rows['adapted']
    assert results.summary_row(rows, reranked=False)['mAP'] == 1
    assert results.summary_row({}, reranked=False) == {}


def test_row_is_chosen_by_its_kind_and_not_by_its_name():
    rows = {
        'adabn2': {'mAP': 1.0, 'kind': 'model'},
        'adapted_reranked': {'mAP': 2.0, 'kind': 'model'},
        'own': {'mAP': 3.0, 'kind': 'reranked'},
        'other': {'mAP': 4.0, 'kind': 'adabn'},
    }
    assert results.summary_row(rows, reranked=False)['mAP'] == 2
    assert results.summary_row(rows, reranked=True)['mAP'] == 3
    del rows['adapted_reranked']
    assert results.summary_row(rows, reranked=False)['mAP'] == 1


def test_one_run_has_no_deviation_and_bars_in_names_survive(tmp_path):
    row = catalogue.Row('a|b', 'dien', '', {'p': {'mAP': 10.0}}, {})
    score = {'mAP': results.Score(12.5, None, (12.5,))}
    line = results.Line(row, 'p', {'mAP': 10.0}, score, 1, 1, None, 3725.0, ('gpu',), '')
    table = catalogue.Table('dien-9', 'DIEN', ('p',), (row,))
    assert r'| a\|b | 10.0 | 12.5 | +2.5 | 1/1 |  | 1 h 02 min | gpu |  |' in writing.markdown(
        table, [line]
    )
