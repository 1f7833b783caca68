"""Benchmarks: the kernel against the raw pipe and against one process per turn, in one run.

`python -m benchmarks [names...] [--runs N] [--json FILE]`, from the root of the repository. The
real `claude` binary is asked; a model server on loopback answers at once, so what is measured is
what the client adds. Contenders alternate within a run, which is why ratios hold on a busy machine
where seconds do not.
"""
