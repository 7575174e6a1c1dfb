"""`python -m jreid.synthetic --out DIR --domain plaza`: writes a generated data set.

Its layout is that of Market-1501.
"""

import argparse
from collections.abc import Sequence

from jreid.synthetic.domains import DOMAINS
from jreid.synthetic.plan import TreeParameters
from jreid.synthetic.tree import write_tree


def _parser(prog: str) -> argparse.ArgumentParser:
    default = TreeParameters()
    parser = argparse.ArgumentParser(
        prog=prog,
        description=(
            'Generates pedestrians in the layout of Market-1501: bounding_box_train, query,'
            ' bounding_box_test, market_attribute.mat (27 attributes) and masks/<folder>/<name>.png'
            ' (0 background, 1 head, 2 torso, 3 upper arm, 4 lower arm, 5 upper leg, 6 lower leg, 7'
            ' foot). The same arguments give the same images.'
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        '--out', required=True, help='folder to make; it must not exist, or be empty'
    )
    parser.add_argument(
        '--domain',
        choices=tuple(DOMAINS),
        default=default.domain,
        help='plaza: summer, sun; campus: winter, high cameras; station: indoors',
    )
    parser.add_argument(
        '--identities', type=int, default=default.identities, help='people in training'
    )
    parser.add_argument(
        '--test-identities',
        type=int,
        default=default.test_identities,
        help='people in query and gallery, none of them in training',
    )
    parser.add_argument('--cameras', type=int, default=default.cameras, help='2 to 6')
    parser.add_argument(
        '--images-per-camera',
        type=int,
        default=default.images_per_camera,
        help='of each person; in test, the first is the query',
    )
    parser.add_argument(
        '--distractors',
        type=int,
        default=default.distractors,
        help='gallery images of other people, called 0000',
    )
    parser.add_argument(
        '--junk',
        type=int,
        default=default.junk,
        help='gallery images that an evaluation leaves out, called -1',
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        default=default.size,
        help='pixels',
    )
    parser.add_argument(
        '--seed', type=int, default=default.seed, help='another seed has other people and cameras'
    )
    parser.add_argument(
        '--strength',
        type=float,
        default=default.strength,
        help="stretch of the cameras' colour ranges: 0 none, 1 as designed",
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=None,
        help='processes; by default two, or one on a single core',
    )
    return parser


def main(
    arguments: Sequence[str] | None = None, *, prog: str = 'python -m jreid.synthetic'
) -> None:
    """Parses the arguments, writes the tree, and prints its counts."""
    values = vars(_parser(prog).parse_args(arguments))
    values['size'] = tuple(values['size'])
    counts = write_tree(values.pop('out'), values.pop('domain'), **values)
    for split, count in counts.items():
        print(f'{split:<20}{count:>8} images')


if __name__ == '__main__':
    main()
