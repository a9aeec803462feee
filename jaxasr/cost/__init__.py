"""Costs of a traced or compiled program: FLOPs, memory traffic, collectives, roofline; also chips and topologies."""

from jaxasr.cost.chips import CHIPS as CHIPS
from jaxasr.cost.chips import Chip as Chip
from jaxasr.cost.chips import chip_of as chip_of
from jaxasr.cost.chips import chips_among as chips_among
from jaxasr.cost.flops import Flops as Flops
from jaxasr.cost.flops import Product as Product
from jaxasr.cost.topology import Topology as Topology
from jaxasr.cost.topology import topology as topology
