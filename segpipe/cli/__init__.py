"""The command line: the same store, flow and Dagster instance, for people at a terminal."""
