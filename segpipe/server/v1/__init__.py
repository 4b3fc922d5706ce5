"""``POST /v1/segment``: a photo and what to look for, to outlines; also as a stream."""
