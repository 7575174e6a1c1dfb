"""Draws the diagrams of the README and the documentation as SVG, and the README's badges.

    python scripts/draw_diagrams.py [FOLDER]      # docs/images by default

The pictures hold no time and no random number: drawn again they are the same files.
"""

import dataclasses
import html
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
WIDTH, HEIGHT, ACROSS, DOWN = 164, 50, 212, 84  # of a box, and from one box to the next
COLOURS = {
    'source': ('#e4eefb', '#0b5cad'),
    'target': ('#fdebdd', '#b8400a'),
    'both': ('#eef0f3', '#566473'),
    'result': ('#e0f3ec', '#00724f'),
}
"""Kind of a box -> its fill and its border."""


@dataclasses.dataclass(frozen=True)
class Diagram:
    """Boxes on a grid, and arrows between them.

    Attributes:
      words: what the picture says, for those who cannot see it.
      boxes: name -> (column, row, kind, text); `|` in the text begins a new line.
      arrows: (from, to, label).
    """

    words: str
    boxes: dict[str, tuple[float, float, str, str]]
    arrows: tuple[tuple[str, str, str], ...]


DIAGRAMS = {
    'pipeline': Diagram(
        'Images of the labelled source train a model; its features of the unlabelled target are'
        ' clustered into pseudo labels; both domains train the adapted model, which labels the'
        ' target anew every few epochs; CMC and mAP are taken before and after.',
        {
            'source': (0, 0, 'source', 'source images|with identities'),
            'target': (0, 1, 'target', 'target images|without labels'),
            'train': (1, 0, 'source', 'train on the|source'),
            'features': (1, 1, 'target', 'AdaBN, features|of the target'),
            'count': (2, 1, 'target', 'how many people?|cluster'),
            'labels': (3, 1, 'target', 'pseudo labels'),
            'adapt': (3, 0, 'both', 'train on both|domains'),
            'scores': (4, 0, 'result', 'CMC, mAP, report|before and after'),
        },
        (
            ('source', 'train', ''),
            ('target', 'features', ''),
            ('train', 'features', ''),
            ('features', 'count', ''),
            ('count', 'labels', ''),
            ('labels', 'adapt', ''),
            ('train', 'adapt', ''),
            ('adapt', 'count', 'again, every N epochs'),
            ('adapt', 'scores', ''),
        ),
    ),
    'flow/dmtnet': Diagram(
        'DMTNet: one backbone, three heads, their outputs joined to the matching feature.',
        {
            'images': (0, 1, 'both', 'source and|target images'),
            'backbone': (1, 1, 'both', 'backbone, F0|shared'),
            'cl': (2, 0, 'both', 'F_cl|classification'),
            'at': (2, 1, 'source', 'F_at, attention U|attributes'),
            'id': (2, 2, 'both', 'F_id|identification'),
            'mat': (3, 1, 'both', 'F_mat = joined,|unit length'),
            'niec': (4, 0, 'target', 'NIEC: C*, then|pseudo labels'),
            'rank': (4, 2, 'result', 'retrieval'),
        },
        (
            ('images', 'backbone', ''),
            ('backbone', 'cl', ''),
            ('backbone', 'at', ''),
            ('backbone', 'id', ''),
            ('cl', 'mat', ''),
            ('at', 'mat', ''),
            ('id', 'mat', ''),
            ('mat', 'niec', ''),
            ('mat', 'rank', ''),
        ),
    ),
    'flow/dien': Diagram(
        'DIEN: the embedding attends to its own feature map T times; the passes are summed.',
        {
            'images': (0, 1, 'both', 'source and|target images'),
            'map': (1, 1, 'both', 'backbone:|feature map'),
            'die': (2, 1, 'both', 'DIE embedding|average + maximum'),
            'rtda': (2, 0, 'both', 'RTDA: masks of|place and channel'),
            'domain': (3, 2, 'both', 'gradient reversal,|domain classifier'),
            'sum': (3, 1, 'both', 'weighted sum of|T + 1 passes'),
            'loss': (4, 0, 'source', 'L_IC and CCCDTL'),
            'rank': (4, 1, 'result', 'retrieval'),
        },
        (
            ('images', 'map', ''),
            ('map', 'die', ''),
            ('die', 'rtda', ''),
            ('rtda', 'map', 'T times'),
            ('die', 'sum', ''),
            ('sum', 'domain', ''),
            ('sum', 'loss', ''),
            ('sum', 'rank', ''),
        ),
    ),
    'flow/tjaidl': Diagram(
        'TJ-AIDL: an identity branch and an attribute branch, joined by an autoencoder; the target'
        ' adapts the attribute branch by its own soft labels.',
        {
            'source': (0, 0, 'source', 'source images'),
            'target': (0, 2, 'target', 'target images'),
            'id': (1, 0, 'source', 'identity branch'),
            'at': (1, 1, 'both', 'attribute branch'),
            'iia': (2, 0, 'source', 'autoencoder: IIA|code'),
            'soft': (2, 2, 'target', 'soft labels of|step I'),
            'pred': (2, 1, 'both', 'attributes'),
            'rank': (3, 1, 'result', 'retrieval by the|attribute branch'),
        },
        (
            ('source', 'id', ''),
            ('source', 'at', ''),
            ('target', 'at', 'step II'),
            ('target', 'soft', ''),
            ('id', 'iia', ''),
            ('iia', 'pred', ''),
            ('at', 'pred', ''),
            ('soft', 'pred', ''),
            ('pred', 'rank', ''),
        ),
    ),
    'flow/mtdnet': Diagram(
        'MTDnet: shared convolutions, a ranking branch and a branch that says whether two images'
        ' show one person; it is trained on the source, then on a small labelled target.',
        {
            'pair': (0, 1, 'both', 'two images, or|triplets of them'),
            'conv': (1, 1, 'both', 'conv1, conv2|shared'),
            'rank': (2, 0, 'both', 'ranking: fc, 512|triplet loss'),
            'same': (2, 2, 'both', 'joined maps,|conv3 to fc7'),
            'softmax': (3, 2, 'both', 'same person|or not'),
            'copy': (3, 1, 'source', 'copy of the source,|coupled (cross)'),
            'list': (4, 2, 'result', 'ranks the gallery'),
        },
        (
            ('pair', 'conv', ''),
            ('conv', 'rank', ''),
            ('conv', 'same', ''),
            ('same', 'softmax', ''),
            ('copy', 'softmax', ''),
            ('softmax', 'list', ''),
        ),
    ),
    'flow/ptl': Diagram(
        'PTL: the pooled feature is trained by identities of the source; on the same map, two proxy'
        ' tasks learn the soft masks and attributes that teachers give to both domains.',
        {
            'images': (0, 0, 'both', 'source and|target images'),
            'teachers': (0, 1, 'both', 'teachers: parsing,|attributes'),
            'map': (1, 0, 'both', 'backbone:|feature map'),
            'labels': (1, 1, 'both', 'masks and soft|attributes'),
            'f': (2, 0, 'both', 'f, maximum over|the map; g, its BN'),
            'proxy': (2, 1, 'both', 'L_parsing,|L_attributes'),
            'identity': (3, 0, 'source', 'identity loss on g,|triplet loss on f'),
            'ssg': (3, 1, 'result', 'retrieval by g;|or SSG from here'),
        },
        (
            ('images', 'map', ''),
            ('images', 'teachers', ''),
            ('teachers', 'labels', ''),
            ('labels', 'proxy', ''),
            ('map', 'f', ''),
            ('map', 'proxy', ''),
            ('f', 'identity', ''),
            ('f', 'ssg', ''),
        ),
    ),
    'flow/ssg': Diagram(
        'SSG: three pooled parts are each grouped by DBSCAN, and each part is trained by its own'
        ' pseudo labels; rounds repeat.',
        {
            'target': (0, 1, 'target', 'target images'),
            'map': (1, 1, 'target', 'features: whole,|upper, lower'),
            'distance': (2, 1, 'target', 'k-reciprocal|distances per part'),
            'groups': (3, 1, 'target', 'DBSCAN: three|labels per image'),
            'train': (3, 0, 'target', 'triplet loss per|part'),
            'rank': (4, 0, 'result', 'retrieval by the|parts joined'),
        },
        (
            ('target', 'map', ''),
            ('map', 'distance', ''),
            ('distance', 'groups', ''),
            ('groups', 'train', ''),
            ('train', 'map', 'next round'),
            ('train', 'rank', ''),
        ),
    ),
    'flow/mmt': Diagram(
        'MMT: two networks, each taught by the clusters and by the mean teacher of the other; the'
        " teachers' mean features are clustered.",
        {
            'images': (0, 0.5, 'target', 'target images,|two views'),
            'first': (1, 0, 'target', 'network f1'),
            'second': (1, 1, 'target', 'network f2'),
            'mean1': (2, 0, 'target', 'mean teacher E1'),
            'mean2': (2, 1, 'target', 'mean teacher E2'),
            'labels': (3, 0.5, 'target', 'mean feature,|clusters'),
            'rank': (4, 0.5, 'result', 'retrieval by the|better teacher'),
        },
        (
            ('images', 'first', ''),
            ('images', 'second', ''),
            ('first', 'mean1', ''),
            ('second', 'mean2', ''),
            ('mean1', 'second', 'soft'),
            ('mean2', 'first', 'soft'),
            ('mean1', 'labels', ''),
            ('mean2', 'labels', ''),
            ('labels', 'rank', ''),
        ),
    ),
    'flow/cluster_contrast': Diagram(
        'Cluster-Contrast: one vector per cluster of the target; an image is compared with all of'
        ' them and moves its own.',
        {
            'target': (0, 0.5, 'target', 'target images'),
            'features': (1, 0.5, 'target', 'backbone, GeM, BN,|unit length'),
            'groups': (2, 1, 'target', 'DBSCAN: clusters|before every epoch'),
            'loss': (2, 0, 'target', 'contrastive loss|against clusters'),
            'memory': (3, 0.5, 'target', 'memory: a vector|per cluster'),
            'rank': (1, 1.5, 'result', 'retrieval'),
        },
        (
            ('target', 'features', ''),
            ('features', 'loss', ''),
            ('features', 'groups', ''),
            ('groups', 'memory', ''),
            ('memory', 'loss', ''),
            ('features', 'rank', ''),
        ),
    ),
    'flow/spcl': Diagram(
        'SpCL: both domains are compared with one memory of source classes, target clusters and'
        ' single target images, which every step moves.',
        {
            'source': (0, 0, 'source', 'source images'),
            'target': (0, 1, 'target', 'target images'),
            'features': (1, 0.5, 'both', 'backbone, neck,|unit length'),
            'loss': (2, 0, 'both', 'contrastive loss|against all classes'),
            'memory': (2, 1, 'both', 'memory: classes,|clusters, images'),
            'reliable': (3, 1, 'target', 'DBSCAN; keep what|is reliable'),
            'rank': (3, 0, 'result', 'retrieval'),
        },
        (
            ('source', 'features', ''),
            ('target', 'features', ''),
            ('features', 'loss', ''),
            ('features', 'memory', ''),
            ('memory', 'loss', ''),
            ('memory', 'reliable', ''),
            ('reliable', 'memory', ''),
            ('loss', 'rank', ''),
        ),
    ),
}
"""Name of the file without its suffix -> what it shows."""

BADGES = {
    'python': ('python', '3.11 – 3.14', '#0b5cad'),
    'jax': ('JAX', '0.10 – 0.12', '#566473'),
    'licence': ('licence', 'Apache-2.0', '#00724f'),
}
"""Name of the file -> its two words and the colour of the second one."""


def svg(diagram: Diagram) -> str:
    """Draws a diagram."""
    columns = max(box[0] for box in diagram.boxes.values())
    rows = max(box[1] for box in diagram.boxes.values())
    width = int(columns * ACROSS + WIDTH + 24)
    height = int(rows * DOWN + HEIGHT + 24)
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}'"
        f" height='{height}' role='img' {FONT} font-size='13'>",
        f'<title>{html.escape(diagram.words)}</title>',
        "<defs><marker id='head' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7'"
        " markerHeight='7' orient='auto-start-reverse'><path d='M0 0L10 5L0 10z'"
        " fill='#566473'/></marker></defs>",
        f"<rect width='{width}' height='{height}' rx='8' fill='#ffffff'/>",
        *(_arrow(diagram, *arrow) for arrow in diagram.arrows),
        *(_box(*box) for box in diagram.boxes.values()),
        '</svg>',
    ]
    return '\n'.join(lines) + '\n'


def _corner(column: float, row: float) -> tuple[float, float]:
    return 12 + column * ACROSS, 12 + row * DOWN


def _box(column: float, row: float, kind: str, text: str) -> str:
    x, y = _corner(column, row)
    fill, border = COLOURS[kind]
    words = text.split('|')
    first = y + HEIGHT / 2 + 4.5 - 8.5 * (len(words) - 1)
    told = ''.join(
        f"<text x='{x + WIDTH / 2:g}' y='{first + 17 * i:g}' text-anchor='middle'"
        f" fill='#1d2733'>{html.escape(word)}</text>"
        for i, word in enumerate(words)
    )
    return (
        f"<rect x='{x:g}' y='{y:g}' width='{WIDTH}' height='{HEIGHT}' rx='6' fill='{fill}'"
        f" stroke='{border}' stroke-width='1.5'/>{told}"
    )


def _arrow(diagram: Diagram, start: str, end: str, label: str) -> str:
    """Draws an arrow between the nearest sides of two boxes."""
    (x0, y0), (x1, y1) = (_corner(*diagram.boxes[name][:2]) for name in (start, end))
    anchor, aside = 'middle', 0
    if x0 == x1:  # one above the other
        x0 = x1 = x0 + WIDTH / 2
        y0, y1 = (y0 + HEIGHT, y1 - 2) if y0 < y1 else (y0, y1 + HEIGHT + 2)
    elif x0 < x1:
        x0, x1 = x0 + WIDTH, x1 - 2
        y0, y1 = y0 + HEIGHT / 2, y1 + HEIGHT / 2
    else:  # back: beside an arrow that leads forth
        x1 = x1 + WIDTH + 2
        if y0 != y1:  # its label has room on the left alone
            anchor, aside = 'end', 12
        below = 14 if y0 == y1 else -12
        y0, y1 = y0 + HEIGHT / 2 + 12, y1 + HEIGHT / 2 + below
        y0 = y1 if below > 0 else y0
    line = (
        f"<path d='M{x0:g} {y0:g}L{x1:g} {y1:g}' stroke='#566473' stroke-width='1.6' fill='none'"
        " marker-end='url(#head)'/>"
    )
    if label:
        line += (
            f"<text x='{(x0 + x1) / 2 - aside:g}' y='{(y0 + y1) / 2 - 6:g}' text-anchor='{anchor}'"
            " font-size='11' fill='#566473' stroke='#ffffff' stroke-width='4' paint-order='stroke'>"
            f'{html.escape(label)}</text>'
        )
    return line


def badge(name: str, words: str, colour: str) -> str:
    """Draws a badge: a word on grey, another on its colour."""
    left, right = (round(7 * len(word) + 14) for word in (name, words))
    total = left + right
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{total}' height='20' role='img' {FONT}"
        f" font-size='11'><title>{html.escape(name)}: {html.escape(words)}</title>"
        f"<rect width='{total}' height='20' rx='3' fill='#3b4754'/>"
        f"<path d='M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1 -3 3h-{right - 3}z'"
        f" fill='{colour}'/><g fill='#ffffff' text-anchor='middle'>"
        f"<text x='{left / 2:g}' y='14'>{html.escape(name)}</text>"
        f"<text x='{left + right / 2:g}' y='14'>{html.escape(words)}</text></g></svg>\n"
    )


def pictures() -> dict[str, str]:
    """Returns path below the folder -> text of the file, for all pictures."""
    drawn = {f'{name}.svg': svg(diagram) for name, diagram in DIAGRAMS.items()}
    return drawn | {f'badges/{name}.svg': badge(*words) for name, words in BADGES.items()}


def main(folder: pathlib.Path) -> None:
    """Writes all pictures."""
    for name, text in pictures().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
        print(path)


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]) if sys.argv[1:] else ROOT / 'docs' / 'images')
