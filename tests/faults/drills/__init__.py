"""Drills: each causes one fault for real, many times, and counts what came of it.

A drill is a function that returns a `Drill`. It raises an AssertionError at the first
outcome that must not be. The tests run drills at small counts, `benchmarks/drills.py`
at the full ones.
"""
