"""What to look for in a deal's photos: the documents, their files, edits, and others' labels."""

from segpipe.store.prompts.prompt_documents import (
    NO_PROMPTS_VERSION,
    Annotation,
    DealPrompts,
    ImagePrompts,
    PromptType,
    Source,
    common_category,
    prompts_version,
)

__all__ = [
    "NO_PROMPTS_VERSION",
    "Annotation",
    "DealPrompts",
    "ImagePrompts",
    "PromptType",
    "Source",
    "common_category",
    "prompts_version",
]
