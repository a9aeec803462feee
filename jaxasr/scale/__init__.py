"""Devices and processes: placing arrays, compiling steps, joining a job and watching it. No other package uses meshes."""

from jaxasr.scale.cache import CompileCounter as CompileCounter
from jaxasr.scale.cache import use_compile_cache as use_compile_cache
from jaxasr.scale.compile import CompiledStep as CompiledStep
from jaxasr.scale.compile import Parallelism as Parallelism
from jaxasr.scale.compile import compile_step as compile_step
from jaxasr.scale.gradient_reduction import SINGLE_DEVICE as SINGLE_DEVICE
from jaxasr.scale.gradient_reduction import GradientReduction as GradientReduction
from jaxasr.scale.hosts import Hardware as Hardware
from jaxasr.scale.hosts import hardware as hardware
from jaxasr.scale.hosts import is_primary as is_primary
from jaxasr.scale.layout import HostShard as HostShard
from jaxasr.scale.layout import MeshShape as MeshShape
from jaxasr.scale.memory import keep_freed_memory as keep_freed_memory
from jaxasr.scale.placement import Placement as Placement
from jaxasr.scale.placement import placement as placement
from jaxasr.scale.rules import Rules as Rules
from jaxasr.scale.watchdog import Watchdog as Watchdog
