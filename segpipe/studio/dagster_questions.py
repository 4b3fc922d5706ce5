"""What the studio asks of Dagster's webserver: to launch a run, and to end one."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from segpipe.studio.dagster_gateway import DagsterGateway, not_there
from segpipe.web.problems import RefusedError

_CONFLICT = 409
_PREPARE_PAUSE_S = 1.0
_JOBS = """{ repositoriesOrError { __typename
  ... on RepositoryConnection { nodes { name location { name } pipelines { name } } }
  ... on PythonError { message } } }"""
_LAUNCH = """mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on Error { message } } }"""
_END = """mutation End($run: String!, $policy: TerminateRunPolicy!) {
  terminateRun(runId: $run, terminatePolicy: $policy) { __typename
    ... on TerminateRunFailure { message } ... on Error { message } } }"""


class DagsterQuestions:
    """Asks Dagster's webserver by GraphQL.

    Args:
        gateway: Where it is.
    """

    def __init__(self, gateway: DagsterGateway) -> None:
        self._gateway = gateway
        self._jobs: dict[str, dict[str, str]] = {}
        self._asking_jobs = asyncio.Lock()

    async def prepare(self) -> None:
        """Ask where jobs are once Dagster answers, so that the first launch takes no longer."""
        while True:
            try:
                await self._selector("")
            except RefusedError:
                if self._jobs:
                    return
            await asyncio.sleep(_PREPARE_PAUSE_S)

    async def launch(self, job: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Put a run of a job into the queue; gives its id.

        Raises:
            RefusedError: 503 while Dagster is not there, 409 where it refuses the run.
        """
        params = {
            "selector": await self._selector(job),
            "runConfigData": dict(config),
            "mode": "default",
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in tags.items()]
            },
        }
        told = (await self._ask(_LAUNCH, params=params))["launchRun"]
        if told["__typename"] != "LaunchRunSuccess":
            raise _refused("DagsterRefuses", f"Dagster launches no run: {_said(told)}")
        return str(told["run"]["runId"])

    async def end(self, run_id: str, *, at_once: bool = False) -> None:
        """End a run that waits or is under way; what it has promoted stays.

        Args:
            run_id: The run.
            at_once: Whether to take it for ended without a word of its process.

        Raises:
            RefusedError: 503 while Dagster is not there, 409 where it cannot.
        """
        policy = "MARK_AS_CANCELED_IMMEDIATELY" if at_once else "SAFE_TERMINATE"
        told = (await self._ask(_END, run=run_id, policy=policy))["terminateRun"]
        if told["__typename"] != "TerminateRunSuccess":
            raise _refused("DagsterRefuses", f"the run cannot be ended: {_said(told)}")

    async def _selector(self, job: str) -> dict[str, str]:
        """Where a job is; asked once."""
        async with self._asking_jobs:
            if job not in self._jobs:
                told = (await self._ask(_JOBS))["repositoriesOrError"]
                for place in told.get("nodes", ()):
                    for each in place["pipelines"]:
                        self._jobs[each["name"]] = {
                            "repositoryLocationName": place["location"]["name"],
                            "repositoryName": place["name"],
                            "jobName": each["name"],
                        }
        if job not in self._jobs:
            raise not_there()  # the code location is being loaded, or failed to
        return self._jobs[job]

    async def _ask(self, question: str, **variables: Any) -> dict[str, Any]:
        try:
            async with self._gateway.client() as client:
                answer = await client.post(
                    "/graphql", json={"query": question, "variables": variables}
                )
                answer.raise_for_status()
                told = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise not_there() from error
        if told.get("errors"):
            said = "; ".join(str(each.get("message", each)) for each in told["errors"])
            raise _refused("DagsterRefuses", f"Dagster says: {said}")
        data: dict[str, Any] = told["data"]
        return data


def _said(told: Mapping[str, Any]) -> str:
    faults = [each["message"] for each in told.get("errors", ())]
    return told.get("message") or "; ".join(faults) or str(told["__typename"])


def _refused(kind: str, detail: str) -> RefusedError:
    return RefusedError(_CONFLICT, kind, detail)
