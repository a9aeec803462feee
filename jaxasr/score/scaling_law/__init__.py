"""Scaling laws: the error of runs over parameters, data and compute, with bands, predictions and the best use of compute."""

from jaxasr.score.scaling_law.bootstrap import LawFit as LawFit
from jaxasr.score.scaling_law.bootstrap import Prediction as Prediction
from jaxasr.score.scaling_law.bootstrap import fit_points as fit_points
from jaxasr.score.scaling_law.bootstrap import hold_out_largest as hold_out_largest
from jaxasr.score.scaling_law.bootstrap import predict as predict
from jaxasr.score.scaling_law.frontier import ComputeUnit as ComputeUnit
from jaxasr.score.scaling_law.frontier import Frontier as Frontier
from jaxasr.score.scaling_law.frontier import frontier as frontier
from jaxasr.score.scaling_law.law import ScalingLaw as ScalingLaw
from jaxasr.score.scaling_law.picture import draw_law as draw_law
from jaxasr.score.scaling_law.points import Point as Point
from jaxasr.score.scaling_law.points import RowSelection as RowSelection
from jaxasr.score.scaling_law.points import planned_point as planned_point
from jaxasr.score.scaling_law.points import read_points as read_points
from jaxasr.score.scaling_law.report import as_json as as_json
from jaxasr.score.scaling_law.report import as_markdown as as_markdown
