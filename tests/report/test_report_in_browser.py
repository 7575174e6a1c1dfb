"""The page in a real browser, opened from the disk: filters, images, keyboard, no request."""

import pytest

from jreid.report.command import report


@pytest.fixture(scope='module')
def page(runs, chromium, tmp_path_factory):
    chromium.open(report(runs, tmp_path_factory.mktemp('browser') / 'page.html').as_uri())
    return chromium


def results(page, selector):
    return page.run(f"document.querySelectorAll('{selector}').length")


def test_opens_with_all_sections_and_tables(page):
    sections = page.run("[...document.querySelectorAll('section > h2')].map((x) => x.textContent)")
    assert sections == [
        'Summary',
        'CMC',
        'Same person or not',
        'Curves',
        'Number of identities',
        'Ranked results',
        'Clusters',
        'Features',
        'Attributes and parts',
        'Config',
    ]
    assert page.run("document.querySelector('#summary tbody').innerText").split()[:3] == [
        'a/run',
        'adapted',
        '40.0',
    ]
    assert '</script><b>' in page.run("document.querySelector('#summary').innerText")
    assert page.run("document.querySelectorAll('#cmc path').length") == 2
    assert page.run("document.querySelector('#cmc svg').getBoundingClientRect().height") > 100
    assert page.run("document.querySelector('#attributes tbody').innerText").split() == [
        'hat',
        '20.0',
        '81.3',
        '–',
        '40.0',
        'mean',
        '–',
        '81.3',
        '–',
        '40.0',
    ]
    assert page.run("document.querySelectorAll('#config mark').length") == 4
    table = page.run("document.querySelector('#verification tbody').innerText").split('\n')[0]
    assert table.split()[-6:] == ['90.0', '1.5', '–', '–', '10.0', '95.5']
    assert page.run("document.querySelectorAll('#verification svg path').length") == 2
    assert 'FPR 0.1' in page.run("document.querySelector('#verification svg').textContent")


def test_images_show(page):
    wait = (
        "Promise.all([...document.querySelectorAll('#ranked img')].slice(0, 12).map((x) => {"
        " x.loading = 'eager'; return x.decode(); }))"
    )
    page.run(f"document.querySelector('#ranked').scrollIntoView(); {wait}.then(() => 1)")
    sizes = page.run(
        "[...document.querySelectorAll('#ranked img')].slice(0, 12).map((x) => [x.naturalWidth,"
        ' x.naturalHeight])'
    )
    assert sizes == [[48, 96]] * 12
    assert page.run("[...document.querySelectorAll('img')].every((x) => x.alt)")


def test_ranked_results_are_filtered(page):
    assert results(page, '#ranked .result') == 20
    assert page.run("document.querySelector('#ranked [role=status]').textContent") == '1–20 of 60'
    page.run("document.querySelector('#ranked .wrong-only').focus()")
    page.press(' ', 32)
    assert results(page, '#ranked .result') == 3
    assert page.run(
        "[...document.querySelectorAll('#ranked .result')].every((x) =>"
        " x.querySelector('.strip').children[1].classList.contains('wrong'))"
    )
    page.press(' ', 32)
    page.run(
        "{ const x = document.querySelector('#ranked input[type=search]'); x.value = '4';"
        " x.dispatchEvent(new Event('input')); }"
    )
    assert results(page, '#ranked .result') == 10
    page.run(
        "{ const x = document.querySelectorAll('#ranked select')[1]; x.value = '3';"
        " x.dispatchEvent(new Event('change')); }"
    )
    assert results(page, '#ranked .result') == 3
    assert page.run(
        "[...document.querySelectorAll('#ranked .query')].every((x) => x.textContent.includes('id"
        " 14, cam 3'))"
    )


def test_keyboard_turns_the_page(page):
    page.run(
        "{ const x = document.querySelector('#ranked input[type=search]'); x.value = '';"
        " x.dispatchEvent(new Event('input')); }"
    )
    page.run(
        "{ const x = document.querySelectorAll('#ranked select')[1]; x.value = '';"
        " x.dispatchEvent(new Event('change')); }"
    )
    page.run(
        "[...document.querySelectorAll('#ranked button')].find((x) => x.textContent ==="
        " 'Next').focus()"
    )
    page.press('Enter', 13)
    assert page.run("document.querySelector('#ranked [role=status]').textContent") == '21–40 of 60'


def test_run_clusters_and_config_are_chosen(page):
    page.run(
        "{ const x = document.querySelector('#curves select'); x.value = '1'; x.dispatchEvent(new"
        " Event('change')); }"
    )
    assert page.run("document.querySelectorAll('#curves figure').length") == 3
    page.run(
        "{ const x = document.querySelector('#clusters input[type=search]'); x.value = '2';"
        " x.dispatchEvent(new Event('input')); }"
    )
    assert page.run(
        "[...document.querySelectorAll('#clusters .cluster h3')].filter((x) =>"
        ' x.checkVisibility()).map((x) => x.textContent)'
    ) == ['cluster 2 3 images']
    page.run("{ const x = document.querySelector('#config input[type=checkbox]'); x.click(); }")
    assert page.run("document.querySelectorAll('#config tbody tr').length") == 2


def test_console_is_silent_and_nothing_was_asked_for(page):
    assert page.console == []
    assert all(url.startswith(('file:', 'data:', 'about:')) for url in page.requests), page.requests


def test_points_of_a_label_are_picked_out(page):
    drawn = "[...document.querySelectorAll('#features .plot path')]"
    assert page.run(f'{drawn}.length') == 12 + 9
    put = (
        "{{ const x = document.querySelector('#features {}'); x.value = '{}';"
        " for (const kind of ['input', 'change']) x.dispatchEvent(new Event(kind)); }}"
    )
    told = "document.querySelector('#features [role=status]').textContent"
    page.run(put.format('input', '2'))
    assert page.run(told) == 'target, label 2, image 3 of its training split; 3 shown'
    strong = f"{drawn}.filter((x) => x.getAttribute('opacity') === '1').length"
    assert page.run(strong) == 3
    # The pointer beside all points leaves what is typed.
    away = (
        "{ const svg = document.querySelector('#features svg'); svg.dispatchEvent("
        "new PointerEvent('pointermove', {clientX: -9, clientY: -9}));"
        " svg.dispatchEvent(new PointerEvent('pointerleave')); }"
    )
    page.run(away)
    assert page.run(strong) == 3
    page.run(put.format('input', 'null'))
    assert page.run(told) == 'no point of the target has this label'
    page.run(put.format('input', '7'))
    assert page.run(told) == 'no point of the target has this label'
    assert page.run(strong) == 12 + 9
    page.run(put.format('input', ''))
    assert page.run(f"new Set({drawn}.map((x) => x.getAttribute('fill'))).size") == 2
    # two labels of the target, and the grey of all others
    page.run(put.format('select:last-of-type', 'label'))
    # The pointer on the first point of the source picks its identity.
    page.run(
        f'{{ const box = {drawn}[0].getBoundingClientRect();'
        f" {drawn}[0].dispatchEvent(new PointerEvent('pointermove', {{bubbles: true,"
        ' clientX: box.x + box.width / 2, clientY: box.y + box.height / 2})); }'
    )
    assert page.run(told) == 'source, label 0, image 1 of its training split; 3 shown'
    assert page.run(strong) == 3
