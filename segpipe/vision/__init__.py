"""Pure functions on arrays. Nothing here knows Dagster, the network or a folder."""
