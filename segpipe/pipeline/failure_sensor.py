"""The sensor that tells people of failed runs, by a webhook, by e-mail or both."""

import os
import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import SplitResult, unquote, urlsplit

import dagster as dg
import httpx

from segpipe.errors import ConfigError, describe

WEBHOOK_VARIABLE = "SEGPIPE_FAILURE_WEBHOOK"
"""A URL that takes ``{"text": …}`` as JSON, as Slack, Mattermost and Teams' workflows do."""
RECIPIENTS_VARIABLE = "SEGPIPE_FAILURE_EMAIL"
"""The addresses to write to, with commas between them."""
SMTP_VARIABLE = "SEGPIPE_SMTP_URL"
"""``smtps://user:password@host:465``, or ``smtp://…:587`` for STARTTLS; without a user, neither."""
UI_VARIABLE = "SEGPIPE_UI_URL"
"""Where people open Dagster, for the link to the run."""

_TIMEOUT_S = 10.0
_MAX_CHARACTERS = 3000
_SMTP_PORTS = {"smtp": 587, "smtps": 465}


def build_failure_sensor() -> dg.SensorDefinition:
    """Build the sensor; like all, it is off until somebody switches it on."""

    @dg.run_failure_sensor(
        name="tell_failures",
        description=f"Tells of each failed run: to the webhook of {WEBHOOK_VARIABLE}, by e-mail to "
        f"{RECIPIENTS_VARIABLE} over {SMTP_VARIABLE}.",
    )
    def tell_failures(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        webhook, recipients = os.environ.get(WEBHOOK_VARIABLE), os.environ.get(RECIPIENTS_VARIABLE)
        if not (webhook or recipients):
            return dg.SkipReason(f"set {WEBHOOK_VARIABLE} or {RECIPIENTS_VARIABLE} for the daemon")
        subject, text = _subject(context), _text(context)
        if webhook:
            _post(webhook, f"{subject}\n{text}")
        if recipients:
            _mail(recipients, subject, text)
        return None

    return tell_failures


def _subject(context: dg.RunFailureSensorContext) -> str:
    run = context.dagster_run
    return f"Run {run.run_id[:8]} of {run.job_name} failed"


def _text(context: dg.RunFailureSensorContext) -> str:
    """Why, step by step, and where to look."""
    reasons = []
    for event in context.get_step_failure_events():
        told = event.step_failure_data.user_failure_data
        error = event.step_failure_data.error
        reasons.append((told and told.description) or (error and error.message) or "")
    text = "\n".join(reason.strip() for reason in reasons if reason)
    text = (text or context.failure_event.message or "")[:_MAX_CHARACTERS]
    ui = os.environ.get(UI_VARIABLE, "").rstrip("/")
    return f"{text}\n{ui}/runs/{context.dagster_run.run_id}" if ui else text


def _post(webhook: str, text: str) -> None:
    fault = ""
    try:
        status = httpx.post(webhook, json={"text": text}, timeout=_TIMEOUT_S).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fault = type(error).__name__
    else:
        fault = "" if httpx.codes.is_success(status) else f"it answered {status}"
    if fault:  # outside of the except: httpx's own text may have the URL, which is a secret
        raise _unusable(WEBHOOK_VARIABLE, fault)


def _mail(recipients: str, subject: str, text: str) -> None:
    server = urlsplit(os.environ.get(SMTP_VARIABLE, ""))
    if server.scheme not in _SMTP_PORTS or not server.hostname:
        raise _unusable(SMTP_VARIABLE, "it has to be smtps://user:password@host or smtp://…")
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = unquote(server.username or "") or f"segpipe@{server.hostname}"
    message["To"] = recipients
    message.set_content(text)
    fault = ""
    try:
        with _connected(server) as connection:
            connection.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        fault = type(error).__name__
    if fault:
        raise _unusable(SMTP_VARIABLE, fault)


def _connected(server: SplitResult) -> smtplib.SMTP:
    """A connection to send by, over TLS wherever there is a password to say."""
    host, port = server.hostname or "", server.port or _SMTP_PORTS[server.scheme]
    context = ssl.create_default_context()
    connection: smtplib.SMTP
    if server.scheme == "smtps":
        connection = smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_S, context=context)
    else:
        connection = smtplib.SMTP(host, port, timeout=_TIMEOUT_S)
    if server.username:
        if server.scheme == "smtp":
            connection.starttls(context=context)
        connection.login(unquote(server.username), unquote(server.password or ""))
    return connection


def _unusable(variable: str, why: str) -> dg.Failure:
    error = ConfigError(f"the failed run could not be told of: {why}", field=variable)
    return dg.Failure(describe(error))
