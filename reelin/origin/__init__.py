"""A real HTTP media server on the loopback interface, for `reelin demo`, the tests and the benchmarks.

It serves a clip, HLS, DASH, feeds and pages, and misbehaves on request: how is said in the URL (`faults.py`).
Import the module you need: this package imports nothing by itself.
"""
