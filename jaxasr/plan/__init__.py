"""The forecast of a run on chips that are not here: memory, collectives, time and cost."""

from jaxasr.plan.planner import Asked as Asked
from jaxasr.plan.planner import Plan as Plan
from jaxasr.plan.planner import plan as plan
from jaxasr.plan.report import report_of as report_of
