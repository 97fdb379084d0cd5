"""PolyBench/C 4.2 as plain Python loops: the kernels, their data, the C they stand for, and the measurement."""
