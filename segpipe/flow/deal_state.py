"""How a deal stands in a mode, and what a run of it would have to do, in words for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MAX_NAMED = 5
"""How many of several things are named."""


class State(StrEnum):
    """How a deal stands in a mode; the words are for people."""

    UP_TO_DATE = "up to date"
    NOTHING_TO_ASK = "nothing to ask"
    """``inside_box`` without a box."""
    ROLLED_BACK = "rolled back"
    """Somebody went back to an older version, and nothing that was put in changed since."""
    OTHER_SETTINGS = "other settings"
    """Up to date but for the settings, and no run was asked to replace them."""
    EXTRA_OUT_OF_DATE = "extra out of date"
    """All is up to date but what is made only when it is asked for by name, such as backgrounds."""
    KNOWN_BAD = "known to be bad"
    """The last run could not use what was put in, which has not changed since."""
    NEVER_MADE = "never made"
    PHOTOS_CHANGED = "photos changed"
    PROMPTS_CHANGED = "prompts changed"
    REVIEWS_CHANGED = "reviews changed"
    """People decided something about its items: no segmenter has to be asked."""
    UPSTREAM_NEWER = "made from older results"
    SETTINGS_CHANGED = "settings changed"
    CODE_CHANGED = "made by an older segpipe"
    FAILED_BEFORE = "failed before"
    """The last run failed in a way that may pass, or that other settings may cure."""
    FINDS_NOT_RECORDED = "finds not recorded"
    """It is promoted, but what was found could not be put among the prompts."""
    UNREADABLE = "cannot be read"
    """A run of it says all that is wrong."""


_AT_REST = frozenset(
    {
        State.UP_TO_DATE,
        State.NOTHING_TO_ASK,
        State.ROLLED_BACK,
        State.OTHER_SETTINGS,
        State.EXTRA_OUT_OF_DATE,
        State.KNOWN_BAD,
    }
)
_OBVIOUS = frozenset({State.UP_TO_DATE, State.NOTHING_TO_ASK})


@dataclass(frozen=True, slots=True)
class Todo:
    """What a run of a deal would have to do.

    Attributes:
        state: How the deal stands.
        stages: The stages to make anew; none when the deal needs no run, or only its finds are to
            be recorded.
        reason: Why, for people: "its photos changed"; and the settings that the run would change:
            "crops.padding_px 4 → 0". The deal is not named.
    """

    state: State
    stages: frozenset[str]
    reason: str

    @property
    def needs_run(self) -> bool:
        """Whether a run could bring the deal further."""
        return self.state not in _AT_REST


def in_words(todos: Mapping[str, Todo]) -> list[str]:
    """How many deals are in each state, with the reasons where they are not obvious."""
    words = []
    for state in State:
        reasons = {deal: todo.reason for deal, todo in todos.items() if todo.state is state}
        if reasons and state in _OBVIOUS:
            words.append(f"{len(reasons)} {state}")
        elif reasons:
            named = [f"{deal}: {reason}" for deal, reason in reasons.items()][:MAX_NAMED]
            words.append(f"{len(reasons)} {state} ({'; '.join(named)})")
    return words
