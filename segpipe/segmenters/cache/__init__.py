"""Never pay twice: a segmenter whose answers are kept in a folder."""

from segpipe.segmenters.cache.config import CacheConfig
from segpipe.segmenters.cache.segmenter import CachedSegmenter

__all__ = ["CacheConfig", "CachedSegmenter"]
