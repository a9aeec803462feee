"""Forecasts of a run on devices that this machine does not have: memory, communication, time and cost."""

from jaxasr.plan.planner import plan as plan
from jaxasr.plan.records import Plan as Plan
from jaxasr.plan.records import PlanRequest as PlanRequest
from jaxasr.plan.report import render_report as render_report
