"""What tests, faults, benchmarks and the makers of examples share: a front end, and where it runs.

Nothing of `hotclaude_kernel` is imported by `environment`, `frontend`, `processes` and `waiting`: a
kernel is spoken to over ZMQ. So what they run may be any version of it.
"""
