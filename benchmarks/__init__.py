"""What segpipe is measured by: ``python -m benchmarks``, or one of them: ``… benchmarks deal``."""
