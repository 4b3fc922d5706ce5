"""Strategies for hypothesis."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segpipe.vision.mask import Bitmap

any_bitmap: st.SearchStrategy[Bitmap] = arrays(
    np.uint8,
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    elements=st.integers(0, 1),
)
"""Any pixels, empty and full included."""

bitmap = any_bitmap.filter(lambda bits: bool(bits.any()))
"""Any pixels, at least one of them inside."""
