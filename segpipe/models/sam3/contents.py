"""What the published checkpoint of SAM 3 holds."""

from segpipe.models.checkpoint import Contents

_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_TYPE, _REPOSITORY = "sam3_video", "facebook/sam3"
_REMARK = "detector and tracker in one"

SAM3 = Contents(_TYPE, _REPOSITORY, files=(_TOKENIZERS,), remark=_REMARK)
"""Text detector and tracker over one vision backbone."""
SAM3_TRACKER = Contents(_TYPE, _REPOSITORY, remark=_REMARK)
"""The same, where nothing reads a text."""
