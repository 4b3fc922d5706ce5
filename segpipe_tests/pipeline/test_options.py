"""Dagster's options are the settings models, with nothing written twice."""

from collections.abc import Iterator
from typing import Any, get_args

import dagster as dg
import pytest

from segpipe.flow.run_settings import FlowSettings
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.options import as_options, options_of
from segpipe.prompt import Mode
from segpipe.refiners.build_refiner import AnyRefinerConfig
from segpipe.segmenters.build_segmenter import AnySegmenterConfig
from segpipe.settings import Settings

MODELS = (FlowSettings, *get_args(AnySegmenterConfig), *get_args(AnyRefinerConfig))


def settings_in(annotation: Any) -> Iterator[type[Settings]]:
    """The settings models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for inner in get_args(annotation):
        yield from settings_in(inner)


def check_same(model: type[Settings], options: Any) -> None:
    assert issubclass(options, model)
    assert issubclass(options, dg.Config)
    assert list(options.model_fields) == list(model.model_fields)
    for name, field in model.model_fields.items():
        derived = options.model_fields[name]
        assert derived.description == field.description
        assert derived.is_required() == field.is_required()
        assert derived.discriminator == field.discriminator
        pairs = zip(settings_in(field.annotation), settings_in(derived.annotation), strict=True)
        for inner, inner_options in pairs:
            check_same(inner, inner_options)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_options_have_every_field_of_their_settings_at_any_depth(model: type[Settings]) -> None:
    check_same(model, options_of(model))


def test_defaults_and_identities_are_the_same() -> None:
    for model in MODELS:
        required = {name for name, field in model.model_fields.items() if field.is_required()}
        if not required:
            settings = model()
            assert as_options(settings).model_dump() == settings.model_dump()
            assert as_options(settings).identity() == settings.identity()


def test_what_a_model_refuses_its_options_refuse() -> None:
    with pytest.raises(ValueError, match="iou_threshold"):
        options_of(FlowSettings).model_validate({"dedup": {"iou_threshold": 2}})
    with pytest.raises(ValueError, match="no_such_field"):
        options_of(FlowSettings).model_validate({"no_such_field": 1})


def test_a_key_in_place_of_the_name_of_its_variable_is_refused_before_there_is_a_run() -> None:
    job = build_defs().resolve_job_def(everything_job_name(Mode.FIND_ALL))
    with dg.DagsterInstance.ephemeral() as instance:
        for kind, field in (("segmind", "api_key_env"), ("internal", "token_env")):
            backend = {"sam3": {"backend": {kind: {field: "sg_1234567890abcdef"}}}}
            config = {"resources": {"segmenter": {"config": {"backend": backend}}}}
            with pytest.raises(dg.DagsterInvalidConfigError, match=field):
                job.execute_in_process(instance=instance, run_config=config)
        assert instance.get_runs_count() == 0
