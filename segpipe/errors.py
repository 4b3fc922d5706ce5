"""Every public exception of segpipe.

::

    SegpipeError
    ├── InputError                    what came in cannot be used: never retried
    │   ├── KnownFailureError         an earlier attempt of the run found so
    │   ├── InvalidIdError            a deal or image id that is not allowed
    │   ├── DealNotFoundError         no such deal under the root
    │   ├── EmptyDealError            a deal without photos
    │   ├── PhotoError                one photo of a deal cannot be used
    │   │   ├── UnreadablePhotoError  missing, a folder, a FIFO, a dangling link
    │   │   ├── UnsafePathError       a link that leaves the data root
    │   │   ├── DuplicateImageError   two photos with one image id
    │   │   ├── UnsupportedFormatError  not one of the image formats that are opened
    │   │   ├── CorruptImageError     truncated or damaged
    │   │   ├── ImageTooLargeError    more pixels than the limit
    │   │   └── BadPhotosError        several photos of a deal cannot be used
    │   ├── PromptError               a prompt that makes no sense for its image
    │   │   ├── UnsupportedPromptError  one that this segmenter cannot follow
    │   │   └── PromptFileError       a file under prompts/ that cannot be read
    │   │       └── BadPromptsError   several of a deal's cannot be
    │   ├── ReviewError               a review that makes no sense for its photo
    │   │   └── ReviewFileError       a file under reviews/ that cannot be read
    │   ├── PathError                 SVG path data that cannot be read
    │   └── ConfigError               a setting that cannot work
    │       └── SavedSettingsError    those that were saved cannot be used
    ├── SegmenterError                the segmenter failed
    │   ├── MissingMaskError          a detection without the mask that a step needs
    │   ├── CheckpointError           the weights are missing, gated or unfit, or the runtime is
    │   └── BackendError              the service behind the segmenter failed
    │       ├── BackendUnavailableError  it gave no answer, and did no work (retryable)
    │       ├── BackendUncertainError    it gave no answer, and may have done (and billed) the work
    │       ├── BackendRefusedError      it will not do this: the key, the credits, the request
    │       ├── BackendProtocolError     its answer makes no sense
    │       └── BudgetExceededError      the next call would pass a limit of the run
    ├── RefinerError                  the refiner failed
    ├── InpainterError                what fills holes in photos failed
    ├── StoreError                    the deal store refused or failed
    │   ├── NotPromotedError          nothing is current yet for this asset
    │   ├── VersionNotFoundError      no kept version of that name
    │   ├── CorruptVersionError       files and manifest disagree
    │   ├── PromotionConflictError    another run committed this generation first (retryable)
    │   ├── PromptConflictError       somebody else changed these prompts first (retryable)
    │   ├── ReviewConflictError       somebody else reviewed the same otherwise first (retryable)
    │   ├── SettingsConflictError     somebody else saved settings first (retryable)
    │   ├── StaleUpstreamError        what a version was made from is no longer current
    │   └── PhotosChangedError        photos changed while the run read them (retryable)
    └── DealFailedError               what went wrong in one deal: every error of its images
        └── FindsNotRecordedError     it is promoted, but its finds are not among its prompts

``retryable`` says whether the same call may succeed later with nothing changed by hand.
``deal``, ``image`` and ``field`` say where; the layer that knows them fills them in.
"""

from collections.abc import Sequence
from typing import ClassVar, Self


class SegpipeError(Exception):
    """Base of every error that segpipe raises on purpose.

    Args:
        message: What was wrong and what to do about it.
        deal: The deal concerned, when known.
        image: The photo's file name or image id, when known.
        field: The setting or input field concerned, when known.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        deal: str | None = None,
        image: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.deal = deal
        self.image = image
        self.field = field

    def at(self, *, deal: str | None = None, image: str | None = None) -> Self:
        """Fill in the place where it is still unknown, and return the same error."""
        self.deal = self.deal or deal
        self.image = self.image or image
        return self

    def __str__(self) -> str:
        named = (("deal", self.deal), ("image", self.image), ("field", self.field))
        place = ", ".join(f"{name} {value!r}" for name, value in named if value)
        return f"{place}: {self.message}" if place else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_blank, (type(self),), {**vars(self), "args": self.args})


def _blank(kind: type[SegpipeError]) -> SegpipeError:
    return kind.__new__(kind)


class InputError(SegpipeError):
    """What came in cannot be used; a retry cannot help."""


class KnownFailureError(InputError):
    """An earlier attempt of this run found that the deal's input is bad."""


class InvalidIdError(InputError):
    """A deal or image id that is not allowed."""


class DealNotFoundError(InputError):
    """No such deal under the root."""


class EmptyDealError(InputError):
    """The deal has no photos."""


class PhotoError(InputError):
    """One photo of a deal cannot be used."""


class UnreadablePhotoError(PhotoError):
    """The photo is missing, or is no regular file."""


class UnsafePathError(PhotoError):
    """A link leads out of the data root."""


class DuplicateImageError(PhotoError):
    """Two photos of a deal have the same image id."""


class UnsupportedFormatError(PhotoError):
    """The bytes are not one of the image formats that are opened."""


class CorruptImageError(PhotoError):
    """The image is truncated or damaged."""


class ImageTooLargeError(PhotoError):
    """The header announces more pixels than the limit."""


class BadPhotosError(PhotoError):
    """Several photos of a deal cannot be used; ``errors`` has the reason for each."""

    def __init__(self, errors: Sequence[PhotoError]) -> None:
        super().__init__("; ".join(describe(error) for error in errors))
        self.errors = tuple(errors)

    def at(self, *, deal: str | None = None, image: str | None = None) -> Self:
        """Fill in the deal, here and in every reason."""
        for error in self.errors:
            error.at(deal=deal)
        return super().at(deal=deal)


class PromptError(InputError):
    """The prompt makes no sense for its image."""


class UnsupportedPromptError(PromptError):
    """This segmenter cannot follow that prompt."""


class PromptFileError(PromptError):
    """A file under ``prompts/`` that cannot be read; the message names it and the annotation."""


class BadPromptsError(PromptFileError):
    """Several prompts files of a deal cannot be read; ``errors`` has the reason for each."""

    def __init__(self, errors: Sequence[InputError]) -> None:
        deal = next((error.deal for error in errors), None)
        super().__init__("; ".join(describe(error) for error in errors), deal=deal)
        self.errors = tuple(errors)


class ReviewError(InputError):
    """A review makes no sense for its photo."""


class ReviewFileError(ReviewError):
    """A file under ``reviews/`` that cannot be read; the message names it and the decision."""


class PathError(InputError):
    """SVG path data that cannot be read."""


class ConfigError(InputError):
    """A setting that cannot work."""


class SavedSettingsError(ConfigError):
    """The settings that were saved cannot be used; the message names their generation."""


class SegmenterError(SegpipeError):
    """The segmenter failed."""


class MissingMaskError(SegmenterError):
    """A detection lacks the mask that a step needs."""


class CheckpointError(SegmenterError):
    """The weights are missing, gated or unfit, or what runs them is not installed."""


class BackendError(SegmenterError):
    """The service behind the segmenter failed.

    Attributes:
        status: The HTTP status of its answer; None when it gave none.
        body: How the body of its answer begins, without secrets.
    """

    status: int | None = None
    body: str = ""

    def with_answer(self, status: int | None, body: str) -> Self:
        """Fill in what was answered, and return the same error."""
        self.status, self.body = status, body
        return self


class BackendUnavailableError(BackendError):
    """The service gave no answer and did no work: unreachable, busy or failing."""

    retryable = True


class BackendUncertainError(BackendError):
    """The service gave no answer, and may have done and billed the work: not sent again."""


class BackendRefusedError(BackendError):
    """The service will not do this: the key, the credits or the request is not good."""


class BackendProtocolError(BackendError):
    """The service's answer is not one of the kinds that are understood."""


class BudgetExceededError(BackendError):
    """The next call would pass a limit of the run; it was not made."""


class RefinerError(SegpipeError):
    """The refiner failed."""


class InpainterError(SegpipeError):
    """What fills holes in photos failed."""


class StoreError(SegpipeError):
    """The deal store refused or failed."""


class NotPromotedError(StoreError):
    """Nothing is current yet for this asset of the deal."""


class VersionNotFoundError(StoreError):
    """No kept version of that name."""


class CorruptVersionError(StoreError):
    """A version's files and its manifest disagree."""


class PromotionConflictError(StoreError):
    """Another run committed this generation first; read what it wrote and decide again."""

    retryable = True


class PromptConflictError(StoreError):
    """Somebody else changed these prompts first; read them and decide again."""

    retryable = True
    annotations: tuple[str, ...] = ()  # that both changed otherwise; "text" is the text


class ReviewConflictError(StoreError):
    """Somebody else reviewed the same items first; read what they decided, and decide again."""

    retryable = True
    decisions: tuple[str, ...] = ()  # that both made otherwise; "done" is the photo's


class SettingsConflictError(StoreError):
    """Somebody else saved settings first; ``changes`` says which: "crops.padding_px 0 → 4"."""

    retryable = True
    changes: tuple[str, ...] = ()


class StaleUpstreamError(StoreError):
    """What a version was made from is no longer current."""


class PhotosChangedError(StoreError):
    """The deal's photos changed while the run read them."""

    retryable = True


class DealFailedError(SegpipeError):
    """A deal could not be processed; ``errors`` has every reason, image by image."""

    def __init__(self, deal: str, errors: Sequence[Exception]) -> None:
        reasons = "; ".join(describe(error) for error in errors)
        super().__init__(reasons, deal=deal)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return f"deal {self.deal!r}: {self.message}"


class FindsNotRecordedError(DealFailedError):
    """A deal is promoted, but what was found in it could not be put among its prompts."""

    what: ClassVar[str] = (
        "its results are promoted, but what was found is not among its prompts; run it again when "
        "this is put right"
    )

    def __init__(self, deal: str, errors: Sequence[Exception]) -> None:
        super().__init__(deal, errors)
        self.message = f"{self.what}: {self.message}"


def describe(error: BaseException) -> str:
    """One line about an error for people: its kind, its place and what was wrong."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
