"""Code generation: from schedules to loop IR to programs, and the back ends that compile them."""

from polydl.codegen.assemble import Assembly, Part, assemble, program_of
from polydl.codegen.lower import lower
from polydl.codegen.program import Program, Slot, Space, Step

__all__ = ["Assembly", "Part", "Program", "Slot", "Space", "Step", "assemble", "lower", "program_of"]
