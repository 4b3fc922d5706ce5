"""Dagster: partitions, assets, checks, resources, IO manager, jobs, sensors, schedules."""
