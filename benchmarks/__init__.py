"""Side-by-side measurements of polydl and its peers, in one run. `python -m benchmarks --help`."""
