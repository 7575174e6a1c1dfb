"""Generated pedestrians: three domains, six cameras each, with identities, attributes and part masks. numpy and Pillow, no download.

`Generator` makes images in memory, `write_tree` a data set in Market-1501's layout, `cached_tree` one in the user's cache. The body mesh,
`synthetic_body_cc0.npz`, is in the public domain; `jreid.data.synthetic.mesh` says where it comes from.
"""

from jreid.data.synthetic.cache import cached_tree
from jreid.data.synthetic.domains import DOMAINS
from jreid.data.synthetic.generator import Generator
from jreid.data.synthetic.tree import write_tree

__all__ = ['DOMAINS', 'Generator', 'cached_tree', 'write_tree']
