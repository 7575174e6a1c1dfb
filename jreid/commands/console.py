"""What the commands say on the screen."""

import logging

QUIET = ('absl', 'jax', 'orbax')


def talk() -> None:
    """Plain lines of jreid's own log; of the libraries below it errors only (which backend JAX
    did not find, that Orbax reads only, is no news).
    """
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    logging.getLogger('jreid').setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
