"""The inference service: one model behind HTTP, for many pipelines."""
