"""The page's charts, tables, filters and images in a real browser, and the page on a phone."""

import pytest

from jreid.report.command import report


@pytest.fixture(scope='module')
def address(runs, tmp_path_factory):
    return report(runs, tmp_path_factory.mktemp('views') / 'page.html').as_uri()


@pytest.fixture
def page(chromium, address):
    """The page as it opens in a window of a desk."""
    chromium.console.clear()
    chromium.resize(1200, 900)
    chromium.open('about:blank#new', ready=False)
    chromium.open(address)
    yield chromium
    assert chromium.console == []


def texts(page, selector):
    return page.run(f"[...document.querySelectorAll('{selector}')].map((x) => x.textContent)")


def settle(page):
    """Waits for the observers of sizes, which run with the next picture."""
    page.run('new Promise((r) => setTimeout(() => requestAnimationFrame(() => r(1)), 60))')


def put(page, selector, value, number=0):
    page.run(
        f"{{ const x = document.querySelectorAll('{selector}')[{number}]; x.value = '{value}';"
        " for (const kind of ['input', 'change']) x.dispatchEvent(new Event(kind)); }"
    )


def test_a_phone_has_a_low_header_that_hides_no_heading(page, address):
    page.resize(390, 844)
    page.open(address)
    settle(page)
    assert page.run("document.querySelector('header').offsetHeight") <= 84  # a tenth of the screen
    assert page.run('document.documentElement.scrollWidth') == 390
    hidden = page.run(
        "[...document.querySelectorAll('nav a')].map((link) => { link.click();"
        " const head = document.querySelector('header').getBoundingClientRect().bottom;"
        " const title = document.querySelector(link.hash + ' h2').getBoundingClientRect();"
        ' return title.top >= head ? null : link.hash; }).filter(Boolean)'
    )
    assert hidden == []


def test_words_of_charts_have_their_size_on_a_phone(page, address):
    page.resize(390, 844)
    page.open(address)
    settle(page)
    sizes = page.run(
        "[...document.querySelectorAll('.plot > svg')].filter((x) => x.checkVisibility()"
        " && x.querySelector('text'))"
        '.map((x) => [x.getBoundingClientRect().width / x.viewBox.baseVal.width,'
        " parseFloat(getComputedStyle(x.querySelector('text')).fontSize)])"
    )
    assert len(sizes) >= 6
    assert all(scale * size >= 11.5 for scale, size in sizes), sizes


def test_words_are_whole_on_a_phone(page, address):
    page.resize(390, 844)
    page.open(address)
    settle(page)
    broken = page.run(
        """(() => {
          const broken = [];
          const walker = document.createTreeWalker(document.querySelector('main'),
            NodeFilter.SHOW_TEXT);
          for (let node; (node = walker.nextNode()); )
            for (const found of node.data.matchAll(/[A-Za-z]{2,16}/g)) {
              const range = document.createRange();
              range.setStart(node, found.index);
              range.setEnd(node, found.index + found[0].length);
              const lines = new Set([...range.getClientRects()].map((x) => Math.round(x.top)));
              if (lines.size > 1) broken.push(found[0]);
            }
          return broken;
        })()"""
    )
    assert broken == []
    # Captions of wide tables break at the edge of the screen, where words would be cut.
    ends = page.run(
        "[...document.querySelectorAll('caption')].map((x) => x.getBoundingClientRect().right)"
    )
    assert ends
    assert max(ends) <= 390


def test_sweeps_mark_the_choice_the_best_and_the_truth(page):
    labels = texts(page, '#sweeps svg .event')
    assert labels == ['best ACC 7', 'C* 9', 'truth 12', 'best CMM 9', 'C* 9', 'truth 12']
    assert 'C* is 9 clusters: 6 of the source' in texts(page, '#sweeps .note')[-1]
    places = page.run(
        "[...document.querySelectorAll('#sweeps svg')].map((x) => [...x.querySelectorAll('.event')]"
        '.map((y) => y.getBoundingClientRect()).flatMap((a, i, all) => all.slice(i + 1).map((b) =>'
        ' a.right < b.left || b.right < a.left || a.bottom <= b.top + 2 || b.bottom <= a.top + 2)))'
    )
    assert all(apart for chart in places for apart in chart)


def test_the_worst_come_first_and_identities_are_found_by_a_part(page):
    first = texts(page, '#ranked .result .note')
    assert [line.split('AP ')[1] for line in first[:4]] == ['50 %'] * 3 + ['100 %']
    put(page, '#ranked input[type=search]', '1')  # all are 10 to 15
    assert texts(page, '#ranked [role=status]') == ['1–20 of 60']
    put(page, '#ranked input[type=search]', '15')
    assert texts(page, '#ranked [role=status]') == ['1–10 of 10']


def test_filters_are_kept_in_the_address(page, address):
    put(page, '#ranked input[type=search]', '12')
    page.run("document.querySelector('#ranked .wrong-only').click()")
    put(page, '#ranked select', 'best', number=2)
    put(page, '#config input[type=search]', 'learning')
    page.run('document.querySelector(\'nav a[href="#ranked"]\').click()')
    settle(page)
    kept = page.run('location.hash')
    assert kept == (
        '#ranked?ranked.identity=12&ranked.wrong=1&ranked.order=best&config.field=learning'
    )
    page.open('about:blank', ready=False)
    page.open(address + kept)
    assert page.run("document.querySelector('#ranked input[type=search]').value") == '12'
    assert page.run("document.querySelector('#ranked .wrong-only').checked") is True
    assert texts(page, '#ranked [role=status]') == ['none']
    assert texts(page, '#config tbody th') == ['method.learning_rate']
    assert page.run('scrollY') > 500
    put(page, '#ranked input[type=search]', '')
    page.run("document.querySelector('#ranked .wrong-only').click()")
    put(page, '#ranked select', 'worst', number=2)
    assert page.run('location.hash') == '#ranked?config.field=learning'


def test_a_table_is_sorted_by_a_heading(page):
    def column():
        return page.run(
            "[...document.querySelectorAll('#summary tbody')[0].rows].map((x) =>"
            ' x.cells[2].textContent)'
        )

    heading = (
        "[...document.querySelectorAll('#summary thead button')].find((x) =>"
        " x.textContent === 'mAP')"
    )
    assert column() == ['40.0', '41.0']
    page.run(f'{heading}.click()')
    assert column() == ['41.0', '40.0']
    assert page.run(f"{heading}.parentElement.getAttribute('aria-sort')") == 'descending'
    page.run(f'{heading}.focus()')
    page.press('Enter', 13)
    assert column() == ['40.0', '41.0']
    assert page.run(f"{heading}.parentElement.getAttribute('aria-sort')") == 'ascending'


def test_an_image_opens_larger_with_its_path(page, runs):
    page.run("document.querySelector('#ranked .open').click()")
    assert page.run("document.querySelector('dialog').open") is True
    path = texts(page, 'dialog code')[0]
    assert path.startswith(str(runs[0].parents[1] / 'images'))
    assert page.run("document.querySelector('dialog a').href") == f'file://{path}'
    assert page.run("document.querySelector('dialog img').getBoundingClientRect().height") > 400
    page.press('Escape', 27)
    assert page.run("document.querySelector('dialog').open") is False


def test_a_legend_hides_lines_and_a_guide_reads_them(page):
    settle(page)
    assert page.run("document.querySelectorAll('#cmc .plot path').length") == 2
    page.run(
        "{ const x = document.querySelector('#cmc .plot > svg'), b = x.getBoundingClientRect();"
        " x.dispatchEvent(new PointerEvent('pointermove', { clientX: b.left + b.width / 2,"
        ' clientY: b.top + 50 })); }'
    )
    assert texts(page, '#cmc .readout span') == [
        'a/run, adapted 97 at 2',
        'b/run, adapted 97 at 2',
    ]
    assert page.run("document.querySelector('#cmc .guide').getAttribute('visibility')") == 'visible'
    page.run("document.querySelector('#cmc .legend button').click()")
    assert page.run("document.querySelectorAll('#cmc .plot path').length") == 1
    pressed = "document.querySelector('#cmc .legend button').getAttribute('aria-pressed')"
    assert page.run(pressed) == 'false'
    page.run("document.querySelector('#cmc .legend button').click()")
    assert page.run("document.querySelectorAll('#cmc .plot path').length") == 2


def test_cameras_scores_purity_and_facts_are_told(page):
    rows = page.run(
        "[...document.querySelectorAll('#ranked tbody')[0].rows].map((x) =>"
        ' [...x.cells].map((y) => y.textContent))'
    )
    assert [row[:2] for row in rows] == [['1', '24'], ['2', '18'], ['3', '18']]
    assert page.run("document.querySelectorAll('#ranked .plot rect').length") == 20
    heads = texts(page, '#clusters .cluster h3')
    assert 'cluster 0 3 images, of 1 person, purity 100 %' in heads
    assert 'cluster 1 3 images, of 2 people, purity 67 %' in heads
    facts = page.run("document.querySelectorAll('#summary table')[1].innerText")
    for words in ('2026-11-27T10:24:12', 'jreid train --config=demo', '0.1.0', '0123abc'):
        assert words in facts
    put(page, '#features select', 1)
    assert page.run("document.querySelector('#features img').naturalWidth") == 900
    put(page, '#features select', 0)


def test_what_differs_between_runs_comes_first(page):
    assert texts(page, '#config tbody th')[:2] == ['method.learning_rate', 'seed']
