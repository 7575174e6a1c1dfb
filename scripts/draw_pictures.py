"""Makes the README's pictures of a finished demo run: generated people, never real ones.

    python -m jreid.main --config=configs/demo.py --workdir=runs/demo
    python scripts/draw_pictures.py runs/demo

writes `ranked.webp`, `niec.webp` and, where a Chromium is on the PATH (or JREID_BROWSER names one),
`report.webp` to docs/images.
"""

import base64
import io
import pathlib
import sys
import tempfile

from PIL import Image

from jreid import figures
from jreid.report.command import report
from jreid.run.rankings import Ranking

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMAGES = ROOT / 'docs' / 'images'
LIMIT = 300_000
"""Most bytes of a picture."""


def ranked(run: pathlib.Path) -> Image.Image:
    """Draws four queries with their first ten gallery images: two of the best average precision,
    one around the median, the worst one.
    """
    ranking = Ranking.load(run)
    if ranking is None:
        raise FileNotFoundError(f'{run} keeps no ranked results; train with figures.enabled=True')
    if not all('synthetic' in str(path) for path in ranking.query_path):
        raise ValueError(f'{run} does not show generated people; expected a run of configs/demo.py')
    rows = figures.pick_queries(ranking.average_precision, 4)
    with tempfile.TemporaryDirectory() as folder:
        path = figures.ranked_sheet(
            pathlib.Path(folder) / 'ranked.png',
            [ranking.query_path[i] for i in rows],
            [[ranking.gallery_path[j] for j in ranking.rows[i, :10]] for i in rows],
            [[bool(right) for right in ranking.correct[i, :10]] for i in rows],
        )
        with Image.open(path) as image:
            return image.convert('RGB')


def sweep(run: pathlib.Path) -> Image.Image:
    """Returns the run's figure of its last sweep of the number of identities, 900 pixels wide."""
    with Image.open(sorted((run / 'figures').glob('niec_*.png'))[-1]) as image:
        return image.convert('RGB').resize((900, round(900 * image.height / image.width)))


def screenshot(run: pathlib.Path) -> Image.Image | None:
    """Takes the report's ranked results as they open, in a browser; None without a browser."""
    sys.path.insert(0, str(ROOT / 'tests' / 'report'))
    import browser

    program = browser.find()
    if program is None:
        print('no browser: the report is not taken')
        return None
    with tempfile.TemporaryDirectory() as folder:
        page = browser.Page(program, pathlib.Path(folder) / 'profile')
        try:
            path = report([run], pathlib.Path(folder) / 'report.html')
            page.resize(1200, 1080)
            page.open(path.as_uri())
            page.run(
                "scrollBy(0, -document.querySelector('header').offsetHeight +"
                " document.querySelector('#ranked').getBoundingClientRect().top)"
            )
            page.run('new Promise((done) => setTimeout(done, 500))')
            data = page.call('Page.captureScreenshot', format='png')['data']
        finally:
            page.close()
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return image.convert('RGB')


def main(run: pathlib.Path) -> None:
    """Writes the pictures."""
    drawn = {'ranked': ranked(run), 'niec': sweep(run), 'report': screenshot(run)}
    for name, image in drawn.items():
        if image is None:
            continue
        path = IMAGES / f'{name}.webp'
        image.save(path, quality=80, method=6)
        if path.stat().st_size > LIMIT:
            raise ValueError(f'{path} has {path.stat().st_size} bytes; expected at most {LIMIT}')
        print(f'{path} ({path.stat().st_size / 1e3:.0f} kB, {image.width} x {image.height})')


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
