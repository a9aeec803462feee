"""An HTTP server of trained runs: a web page, and an endpoint with the interface of OpenAI's transcriptions."""

from jaxasr.serving.application import ServerLimits as ServerLimits
from jaxasr.serving.application import build_application as build_application
from jaxasr.serving.load_test import load_test as load_test
from jaxasr.serving.models import ServedModel as ServedModel
from jaxasr.serving.models import load_model as load_model
from jaxasr.serving.server import serve as serve
