"""segpipe: every item out of thousands of photos, as partitioned Dagster assets."""
