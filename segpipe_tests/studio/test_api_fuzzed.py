"""The API does what its document says, every route of it, asked by schemathesis."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished

from segpipe.studio.api import runs_api
from segpipe.studio.studio_app import API_SCHEMA
from segpipe_tests.deals import make_deal
from segpipe_tests.studio.running_studio import RunningStudio, running_studio, wait_until

EXAMPLES = 8
LISTENS_S = 0.1
START_LIMIT_S = 120.0
# Whether there is a deal of a name, or bytes are a photo, is more than a schema can say.
BEYOND_SCHEMAS = "positive_data_acceptance"


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """A studio of its own, as whatever may be asked is asked: runs wait, as no daemon is there."""
    root = Path(tmp_path_factory.mktemp("fuzzed")) / "data"
    make_deal(root, "lot", (1,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs_api, "LISTEN_S", LISTENS_S)
        with running_studio(root, dagster=True) as running:
            wait_until(lambda: running.studio.dagster.is_ready, patience_s=START_LIMIT_S)
            yield running


def load_schema(studio: RunningStudio) -> schemathesis.BaseSchema:
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "generation": {"max-examples": EXAMPLES, "database": "none"},
            "checks": {BEYOND_SCHEMAS: {"enabled": False}},
            "phases": {"stateful": {"enabled": False}},
        }
    )
    return schemathesis.openapi.from_url(f"{studio.url}{API_SCHEMA}", config=config)


@pytest.mark.timeout(240)
def test_schemathesis_finds_nothing(fuzzed: RunningStudio) -> None:
    failures, asked = set(), set()
    schema = load_schema(fuzzed)
    for event in from_schema(schema).execute():
        assert not isinstance(event, NonFatalError), event
        if isinstance(event, ScenarioFinished):
            asked.add(event.recorder.label)
            failures |= {
                f"{event.recorder.label}: {check.failure_info.failure}"
                for checks in event.recorder.checks.values()
                for check in checks
                if check.status is Status.FAILURE and check.failure_info
            }
    assert failures == set()
    documented = {
        f"{method.upper()} {path}"
        for path, operations in schema.raw_schema["paths"].items()
        for method in operations
    }
    assert asked == documented
    assert len(documented) >= 22
