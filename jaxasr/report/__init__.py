"""Reports for people: result rows, tables, pictures, progress."""

from jaxasr.report import attention as attention
from jaxasr.report import pictures as pictures
from jaxasr.report import surfaces as surfaces
from jaxasr.report.histogram import text_histogram as text_histogram
from jaxasr.report.measurements import Measurements as Measurements
from jaxasr.report.page import page as page
from jaxasr.report.progress import Progress as Progress
from jaxasr.report.progress import clock_time as clock_time
from jaxasr.report.results import append as append
from jaxasr.report.results import package_provenance as package_provenance
from jaxasr.report.results import provenance as provenance
from jaxasr.report.results import read as read
from jaxasr.report.scaling import ScalingPoint as ScalingPoint
from jaxasr.report.scaling import scaling as scaling
from jaxasr.report.tables import MARKS as MARKS
from jaxasr.report.tables import Cell as Cell
from jaxasr.report.tables import Column as Column
from jaxasr.report.tables import Row as Row
from jaxasr.report.tables import cells as cells
from jaxasr.report.tables import markdown as markdown
from jaxasr.report.versions import version as version
from jaxasr.report.versions import version_lines as version_lines
