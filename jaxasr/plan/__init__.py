"""The forecast of a run on chips that are not here: memory, collectives, time and cost."""

from jaxasr.plan.planner import Plan as Plan
from jaxasr.plan.planner import PlanRequest as PlanRequest
from jaxasr.plan.planner import plan as plan
from jaxasr.plan.report import render_report as render_report
