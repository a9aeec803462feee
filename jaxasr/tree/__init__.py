"""The configuration tree: it renders an experiment as `a.b.c = value` lines, overrides values and computes fingerprints.

>>> print(render(experiment))            >>> override(experiment, parse(["model.depth=4"])).model.depth
. = Experiment                           4
model = Listener                         >>> override(experiment, {"model.dept": 4})
model.depth = 6                          ValueError: model: Listener has no field 'dept'; it has depth, widths.
model.widths = (320, 640)                    Did you mean 'depth'?
seed = 0
"""

from jaxasr.tree.numbers import check_numbers as check_numbers
from jaxasr.tree.override import override as override
from jaxasr.tree.override import parse as parse
from jaxasr.tree.render import Leaf as Leaf
from jaxasr.tree.render import defaults as defaults
from jaxasr.tree.render import difference as difference
from jaxasr.tree.render import fingerprint as fingerprint
from jaxasr.tree.render import flatten as flatten
from jaxasr.tree.render import is_below as is_below
from jaxasr.tree.render import render as render
