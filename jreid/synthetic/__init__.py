"""Generated pedestrians: three domains of six cameras, with identities, attributes and masks.

The generator needs numpy and Pillow and downloads nothing. `Generator` makes images in memory,
`write_tree` writes a data set in Market-1501's layout, and `cached_tree` writes one to the user's
cache. The body mesh, `synthetic_body_cc0.npz`, is in the public domain; `jreid.synthetic.mesh` says
where it comes from.
"""

from jreid.synthetic.cache import cached_tree
from jreid.synthetic.domains import DOMAINS
from jreid.synthetic.generator import Generator
from jreid.synthetic.tree import write_tree

__all__ = ['DOMAINS', 'Generator', 'cached_tree', 'write_tree']
