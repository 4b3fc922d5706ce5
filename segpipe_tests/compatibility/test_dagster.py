"""What Dagster is shown: assets, jobs, sensors, and every setting of the launchpad."""

from typing import Any

import dagster as dg
import pytest

from segpipe.definitions import defs
from segpipe.flow.saved_settings import SavedSettings
from segpipe_tests.compatibility.doors import check_pin

MODES = ("find_all", "inside_box")


def test_assets_jobs_sensors_and_schedules_have_their_names() -> None:
    repository = defs.get_repository_def()
    graph = defs.resolve_asset_graph()
    assets = {
        key.to_user_string(): {
            # Whether drawn as an edge of its own or by way of others.
            "needs": sorted(above.to_user_string() for above in graph.get_ancestor_asset_keys(key)),
            "group": graph.get(key).group_name,
            "kinds": sorted(graph.get(key).kinds),
            "checks": sorted(check.name for check in graph.get(key).check_keys),
            "is partitioned": graph.get(key).is_partitioned,
        }
        for key in sorted(graph.get_all_asset_keys(), key=str)
    }
    told = {
        "assets": assets,
        "jobs": sorted(repository.job_names),
        "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
        "schedules": sorted(schedule.name for schedule in repository.schedule_defs),
        "resources": sorted(repository.get_top_level_resources()),
    }
    check_pin("dagster", told, may_grow=True)


@pytest.mark.parametrize("mode", MODES)
def test_the_launchpad_has_every_setting_with_its_default(mode: str) -> None:
    job = defs.resolve_job_def(f"{mode}_everything")
    fields = shown(job.run_config_schema.config_type)["fields"]
    settings = fields["ops"]["fields"][mode]["fields"]["config"]
    launchpad = {"ops": settings, "resources": before_a_save(fields["resources"])}
    check_pin("launchpad", launchpad, may_grow=True)


def before_a_save(shown: Any, resource: str = "") -> Any:
    """What is shown of resources, where "as saved" is what runs use while nothing is saved."""
    if not isinstance(shown, dict):
        return shown
    if shown.keys() == {"saved"}:
        used = getattr(SavedSettings(), resource).model_dump(mode="json")
        return {used.pop("kind"): used}
    named = {"segmenter", "refiner"}
    return {
        key: before_a_save(inner, key if key in named else resource) for key, inner in shown.items()
    }


def shown(config: Any) -> dict[str, Any]:
    """A type of Dagster config as JSON, without its sentences."""
    if config.given_name == "SecretVariable":
        # A text in release 0.1, which stored keys that somebody entered there; the names that it
        # used by itself are still taken.
        return {"kind": "SCALAR_UNION"}
    told: dict[str, Any] = {"kind": config.kind.value}
    if isinstance(config, dg.Enum):
        told["values"] = sorted(value.config_value for value in config.enum_values)
    elif config.given_name:
        told["name"] = config.given_name
    fields = getattr(config, "fields", None)
    if fields:
        told["fields"] = {
            name: {
                "is_required": field.is_required,
                **({"default": field.default_value} if field.default_provided else {}),
                **shown(field.config_type),
            }
            for name, field in sorted(fields.items())
        }
    inner = getattr(config, "inner_type", None)
    if inner is not None:
        told["inner"] = shown(inner)
    return told
