"""Many deals on a real PostgreSQL: ``python -m benchmarks.scale``."""
