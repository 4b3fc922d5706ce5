"""Where a deal's files live: photos in, versions staged, commits that make them current."""
