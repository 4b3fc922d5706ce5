"""The checks of a mode's assets: told by each run, and to be executed by themselves."""

import warnings
from collections.abc import Iterable, Iterator, Mapping

import dagster as dg

from segpipe.errors import SegpipeError
from segpipe.flow.checks import Check, CheckSettings, Finding, some_of
from segpipe.flow.stages.report import REPORT
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.pipeline.partitions import DEALS, tag_run
from segpipe.pipeline.recording import asset_key
from segpipe.pipeline.resources import DealStoreResource
from segpipe.prompt import Mode
from segpipe.store.snapshot import Snapshot


def build_checks(mode: Mode) -> dg.AssetChecksDefinition:
    """Build the checks of a mode, to be executed by themselves on what is current.

    A run of the mode's assets checks what it promotes, deal by deal, with no step of its own: a
    bad deal would keep the others from being checked.
    """

    @dg.multi_asset_check(
        name=f"{mode.value}_checks",
        specs=_check_specs(mode),
        can_subset=True,
        description="Checks what is current of the deals of the run, or of every deal.",
    )
    def checks(
        context: dg.AssetCheckExecutionContext, store: DealStoreResource
    ) -> Iterator[dg.Output[None]]:
        opened = store.open()
        op = context.op_execution_context
        in_run = op.has_partition_key or op.has_partition_key_range
        tag_run(op.instance, op.run, mode, op.partition_keys if in_run else [])
        wanted = context.selected_asset_check_keys
        verdicts: dict[dg.AssetCheckKey, dict[str, bool]] = {key: {} for key in wanted}
        for deal in op.partition_keys if in_run else opened.deals():
            try:
                snapshot = opened.current(deal, mode)
            except SegpipeError as error:
                context.log.warning("deal %r is not checked: %s", deal, error)
                continue
            if snapshot is None:
                context.log.info("deal %r: nothing to check", deal)
                continue
            for evaluation in check_stages(snapshot, STAGES, CheckSettings()):
                if evaluation.asset_check_key in wanted:
                    op.log_event(evaluation)  # type: ignore[arg-type]  # the type forgets checks
                    verdicts[evaluation.asset_check_key][deal] = evaluation.passed
        for spec in _check_specs(mode):
            if spec.key in wanted:
                if not in_run:
                    op.log_event(_of_all(spec.key, verdicts[spec.key]))  # type: ignore[arg-type]
                # Told above, deal by deal; Dagster misses a result otherwise.
                yield dg.Output(None, output_name=spec.get_python_identifier())

    return checks


def check_stages(
    snapshot: Snapshot, stages: Iterable[str], settings: CheckSettings
) -> Iterator[dg.AssetCheckEvaluation]:
    """Do every check of these stages that are current for a deal; the report's is one of all."""
    for stage in STAGES.in_order({*stages, REPORT.name}):
        if snapshot.has(stage.name):
            for check in stage.checks:
                key = dg.AssetCheckKey(asset_key(Mode(snapshot.mode), stage.name), check.name)
                yield _evaluate(check, key, snapshot, settings)


def _of_all(key: dg.AssetCheckKey, verdicts: Mapping[str, bool]) -> dg.AssetCheckEvaluation:
    """The evaluation of all deals together, which a run that names none is expected to give."""
    failed = [deal for deal, passed in verdicts.items() if not passed]
    checks = {check.name: check for check in STAGES[key.asset_key.path[-1]].checks}
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=not failed,
        description=some_of("fails in", failed) if failed else "passes in every deal",
        metadata={"deals": len(verdicts), "failed_deals": len(failed)},
        severity=_severity(checks[key.name]),
    )


def _severity(check: Check) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.WARN if check.is_warning else dg.AssetCheckSeverity.ERROR


def _check_specs(mode: Mode) -> list[dg.AssetCheckSpec]:
    with warnings.catch_warnings():
        # Evaluations of a single deal need it; that is what the tests hold it to.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                check.name,
                asset=asset_key(mode, stage.name),
                description=check.description,
                partitions_def=DEALS,
            )
            for stage in STAGES.values()
            for check in stage.checks
        ]


def _evaluate(
    check: Check, key: dg.AssetCheckKey, snapshot: Snapshot, settings: CheckSettings
) -> dg.AssetCheckEvaluation:
    try:
        finding = check.find(snapshot, settings)
    except SegpipeError as error:  # a damaged file fails the check, not the run
        finding = Finding(False, str(error), {})
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=finding.passed,
        description=finding.text,
        metadata=finding.numbers,
        severity=_severity(check),
        partition=snapshot.deal,
    )
