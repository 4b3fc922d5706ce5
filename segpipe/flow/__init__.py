"""What happens to one deal: plain functions, one file a stage, no Dagster."""
