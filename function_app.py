"""The triggers: decode, call one use case, map the outcome. Nothing else happens here."""

from __future__ import annotations

import json
import logging
import os

from typing import Any

import azure.functions as func

from hubwarden.bootstrap import Hubwarden
from hubwarden.service.messages import Queue
from hubwarden.web.poison import burials, text_of
from hubwarden.web.triggers import approvals


# The SDKs log every request at INFO; what matters of a call is in our own lines.
logging.getLogger("azure").setLevel(logging.WARNING)

app = func.FunctionApp()

# A wrong setting ends the start, with its name: no message is taken that could not be worked on.
hubwarden = Hubwarden(os.environ)
app.register_functions(approvals(hubwarden))
app.register_functions(burials(hubwarden))


@app.event_grid_trigger(arg_name="event")
async def on_azure_event(event: func.EventGridEvent, context: func.Context) -> None:
    """Somebody wrote or deleted a resource. A failure makes Event Grid deliver the event again."""
    await hubwarden.on_event(_plain(event), context.invocation_id)


@app.event_grid_trigger(arg_name="event")
async def on_device_event(event: func.EventGridEvent, context: func.Context) -> None:
    """A hub has a new device. A failure makes Event Grid deliver the event again."""
    await hubwarden.on_device_event(_plain(event), context.invocation_id)


@app.timer_trigger(arg_name="timer", schedule="%SWEEP_SCHEDULE%", use_monitor=True)
async def sweep(timer: func.TimerRequest, context: func.Context) -> None:  # noqa: ARG001 - bound
    """Look at every hub."""
    await hubwarden.on_sweep(context.invocation_id)


@app.timer_trigger(arg_name="timer", schedule="30 7,22,37,52 * * * *", use_monitor=True)
async def dead_letters(timer: func.TimerRequest, context: func.Context) -> None:  # noqa: ARG001 - bound
    """Read back the events that Event Grid could not deliver, between two sweeps of the usual schedule."""
    await hubwarden.on_dead_letters(context.invocation_id)


@app.queue_trigger(arg_name="msg", queue_name=Queue.EVALUATE.value, connection="AzureWebJobsStorage")
async def evaluate(msg: func.QueueMessage, context: func.Context) -> None:
    """Look at one hub."""
    await hubwarden.on_message(Queue.EVALUATE, text_of(msg), context.invocation_id)


@app.queue_trigger(arg_name="msg", queue_name=Queue.REMEDIATE.value, connection="AzureWebJobsStorage")
async def remediate(msg: func.QueueMessage, context: func.Context) -> None:
    """Fix what is approved on one hub."""
    await hubwarden.on_message(Queue.REMEDIATE, text_of(msg), context.invocation_id)


@app.queue_trigger(arg_name="msg", queue_name=Queue.VERIFY.value, connection="AzureWebJobsStorage")
async def verify(msg: func.QueueMessage, context: func.Context) -> None:
    """See whether a fix has taken."""
    await hubwarden.on_message(Queue.VERIFY, text_of(msg), context.invocation_id)


@app.queue_trigger(arg_name="msg", queue_name=Queue.CENSUS.value, connection="AzureWebJobsStorage")
async def census(msg: func.QueueMessage, context: func.Context) -> None:
    """Go on counting the devices of one hub."""
    await hubwarden.on_message(Queue.CENSUS, text_of(msg), context.invocation_id)


@app.queue_trigger(arg_name="msg", queue_name=Queue.TICKETS.value, connection="AzureWebJobsStorage")
async def settle(msg: func.QueueMessage, context: func.Context) -> None:
    """Tell the ticket system what it could not take before."""
    await hubwarden.on_message(Queue.TICKETS, text_of(msg), context.invocation_id)


@app.queue_trigger(arg_name="msg", queue_name=Queue.NOTIFY.value, connection="AzureWebJobsStorage")
async def notify(msg: func.QueueMessage, context: func.Context) -> None:
    """Send what waits for one channel."""
    await hubwarden.on_message(Queue.NOTIFY, text_of(msg), context.invocation_id)


@app.route(route="health", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
async def health(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:  # noqa: ARG001 - bound
    """Say whether all is well: 200, or 503 where nothing is judged or fixed."""
    said = await hubwarden.on_health(context.invocation_id)
    status = 200 if said["ready"] else 503
    return func.HttpResponse(json.dumps(said, indent=2), status_code=status, mimetype="application/json")


def _plain(event: Any) -> dict[str, Any]:
    """One shape for both event schemas; the binding hands over a CloudEvent where one was sent."""
    cloud = isinstance(event, func.CloudEvent)
    time = event.time if cloud else event.event_time
    return {
        "id": event.id,
        "topic": event.source if cloud else event.topic,
        "subject": event.subject,
        "type": event.type if cloud else event.event_type,
        "time": time.isoformat() if time else None,
        "data": event.get_json(),
    }
