"""Never pay twice: a segmenter whose answers are kept in a folder."""

from segpipe.segmenters.cache.cached_segmenter import CacheConfig, CachedSegmenter

__all__ = ["CacheConfig", "CachedSegmenter"]
