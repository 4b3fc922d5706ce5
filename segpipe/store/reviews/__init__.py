"""What people decided about the items that were found: the documents, their files, and changes."""

from segpipe.store.reviews.review_documents import (
    NO_REVIEWS_VERSION,
    Decision,
    ImageReview,
    MaskRuns,
    RejectReason,
    Verdict,
    reviews_version,
)

__all__ = [
    "NO_REVIEWS_VERSION",
    "Decision",
    "ImageReview",
    "MaskRuns",
    "RejectReason",
    "Verdict",
    "reviews_version",
]
