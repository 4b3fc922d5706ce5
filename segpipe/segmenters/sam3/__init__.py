"""SAM 3 behind every door: an API, our own service, or a model in this process."""
