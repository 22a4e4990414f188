"""Our pipelines for azure-core: no retries (a delayed message comes back instead), no redirects.

Imported on first use only: azure-core takes its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError as SdkError
from azure.core.pipeline.policies import (
    AsyncBearerTokenCredentialPolicy,
    AsyncHTTPPolicy,
    ContentDecodePolicy,
    CustomHookPolicy,
    HeadersPolicy,
    RequestIdPolicy,
    UserAgentPolicy,
)
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy

from hubwarden.adapters.azure.budget import Budget
from hubwarden.adapters.azure.counted import CountedCalls
from hubwarden.adapters.azure.errors import NotSentError
from hubwarden.adapters.azure.redaction import safe_text
from hubwarden.service.telemetry import SILENT, Telemetry


if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline import PipelineRequest, PipelineResponse


def arm_pipeline(
    credential: AsyncTokenCredential,
    scope: str,
    budget: Budget,
    *,
    decode: bool = True,
    telemetry: Telemetry = SILENT,
) -> list[Any]:
    """For Azure Resource Manager. Every call that is sent is told to ``telemetry``.

    It does not register resource providers, as the SDK's own does, in subscriptions that are not ours to change.
    The SDK's clients need ``decode``; without it, the body of an answer can be anything.
    """
    return [
        RequestIdPolicy(),
        HeadersPolicy(),
        UserAgentPolicy("hubwarden"),
        *([ContentDecodePolicy()] if decode else []),
        _WithinBudget(budget, CountedCalls(telemetry)),
        _ArmToken(credential, scope),
        CustomHookPolicy(),
    ]


def hub_pipeline(credential: AsyncTokenCredential, scope: str) -> list[Any]:
    """For the data planes of hubs."""
    return [HeadersPolicy(), UserAgentPolicy("hubwarden"), _HubToken(credential, scope)]


class _WithinBudget(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Sends what the budget allows, and tells it of each answer; the only place that all calls to ARM pass."""

    def __init__(self, budget: Budget, calls: CountedCalls) -> None:
        super().__init__()
        self._budget = budget
        self._calls = calls

    async def send(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """See AsyncHTTPPolicy."""
        method, url = request.http_request.method, request.http_request.url
        with self._budget.request(method, url) as told, self._calls.call(method, url) as answered:
            response = await self.next.send(request)
            answered(response.http_response.status_code, response.http_response.headers)
            told(response.http_response.headers)
        return response


class _OrNothing(AsyncBearerTokenCredentialPolicy[HttpRequest, AsyncHttpResponse]):
    """Where no token is to be had, nothing is sent; such errors have the same classes as those of an answer."""

    async def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        """See AsyncBearerTokenCredentialPolicy."""
        try:
            await super().on_request(request)
        except (SdkError, TimeoutError) as error:
            raise _no_token(error) from None

    async def on_challenge(
        self,
        request: PipelineRequest[HttpRequest],
        response: PipelineResponse[HttpRequest, AsyncHttpResponse],
    ) -> bool:
        """See AsyncBearerTokenCredentialPolicy."""
        try:
            return await super().on_challenge(request, response)
        except (SdkError, TimeoutError) as error:
            raise _no_token(error) from None


class _ArmToken(_OrNothing, AsyncARMChallengeAuthenticationPolicy):
    """A token for Azure Resource Manager."""


class _HubToken(_OrNothing):
    """A token for the data planes of hubs."""


def _no_token(error: Exception) -> NotSentError:
    return NotSentError(f"no token could be had: {safe_text(str(error))}")
