"""Schedules: the transformations, the `Schedule` value, and recipes."""

from polydl.scheduler.affine_order import AffineOrder, SeparateTiles
from polydl.scheduler.bindings import Parallel, Sequential, Unroll, Vectorize
from polydl.scheduler.compute import Accumulate, Inline, Privatize
from polydl.scheduler.copies import CopyInOut
from polydl.scheduler.diamonds import Diamond
from polydl.scheduler.expansion import Expand
from polydl.scheduler.folding import Contract, Fold
from polydl.scheduler.instances import RunFirst
from polydl.scheduler.jam import FuseShifted, UnrollAndJam
from polydl.scheduler.loops import Collapse, Distribute, Fuse, Reorder, Split, Tile
from polydl.scheduler.meaning import Rebase
from polydl.scheduler.motion import Reverse, Shift, Skew
from polydl.scheduler.packing import Pack
from polydl.scheduler.partial_sums import PartialSums
from polydl.scheduler.partition import IndexSetSplit, Separate
from polydl.scheduler.pictures import picture, save_picture
from polydl.scheduler.placement import ComputeAt
from polydl.scheduler.prefetch import Prefetch, ReadAhead
from polydl.scheduler.recipes import default_schedule
from polydl.scheduler.records import TRANSFORMS, from_json, from_text
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.storage import Local, SetLayout, SetMemory
from polydl.scheduler.tensorise import Tensorise
from polydl.scheduler.terms import SplitSum
from polydl.scheduler.unimodular import Unimodular

__all__ = [
    "TRANSFORMS",
    "Accumulate",
    "AffineOrder",
    "Collapse",
    "ComputeAt",
    "Contract",
    "CopyInOut",
    "Diamond",
    "Distribute",
    "Expand",
    "Fold",
    "Fuse",
    "FuseShifted",
    "IndexSetSplit",
    "Inline",
    "Local",
    "Pack",
    "Parallel",
    "PartialSums",
    "Prefetch",
    "Privatize",
    "ReadAhead",
    "Rebase",
    "Reorder",
    "Reverse",
    "Rewritten",
    "RunFirst",
    "Schedule",
    "Separate",
    "SeparateTiles",
    "Sequential",
    "SetLayout",
    "SetMemory",
    "Shift",
    "Skew",
    "Split",
    "SplitSum",
    "Tensorise",
    "Tile",
    "Transform",
    "Unimodular",
    "Unroll",
    "UnrollAndJam",
    "Vectorize",
    "default_schedule",
    "from_json",
    "from_text",
    "picture",
    "save_picture",
]
