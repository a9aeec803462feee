"""An experiment as text: flattened to `a.b.c = value` lines, changed by the same paths, known by a fingerprint.

>>> print(render(experiment))            >>> override(experiment, parse(["model.depth=4"])).model.depth
. = Experiment                           4
model = Listener                         >>> override(experiment, {"model.dept": 4})
model.depth = 6                          ValueError: model: Listener has no field 'dept'; it has depth, widths.
model.widths = (320, 640)                    Did you mean 'depth'?
seed = 0
"""

from jaxasr.tree.changes import override as override
from jaxasr.tree.changes import parse as parse
from jaxasr.tree.lines import Leaf as Leaf
from jaxasr.tree.lines import defaults as defaults
from jaxasr.tree.lines import difference as difference
from jaxasr.tree.lines import fingerprint as fingerprint
from jaxasr.tree.lines import flatten as flatten
from jaxasr.tree.lines import render as render
