# SPDX-License-Identifier: Apache-2.0
"""How either side reaches the Kubernetes API: credentials in, plain JSON requests out.

Objects stay JSON dicts. The client's generated models cost more time and memory than all fields that we read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTResponse

from footprint.cluster.tls import trust_as_kubectl

MERGE_PATCH: Final = "application/merge-patch+json"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
"""``accept`` of a request for an object's metadata: a Node's list of images is longer than all else of it."""
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
"""The same of a list of objects. A watch of them takes ``METADATA_ONLY``."""
REQUEST_TIMEOUT: Final = (3.0, 10.0)
"""Seconds to connect and to wait for an answer."""


_OUT_OF_DATE: Final = ("certificate is not yet valid", "certificate has expired")
"""OpenSSL's words."""


class ClusterConfigError(Exception):
    """No usable credentials; the message names the remedy."""


class ApiError(Exception):
    """The API server refused a request, or could not be reached (``status`` 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _configuration(kubeconfig: str | None) -> Configuration:
    settings = Configuration()
    if kubeconfig is None:
        try:
            config.load_incluster_config(client_configuration=settings)
        except (config.ConfigException, OSError) as error:
            raise ClusterConfigError(
                f"not running in a pod ({error}), so there are no in-cluster credentials; "
                "name a kubeconfig with --kubeconfig FILE"
            ) from error
        return settings
    try:
        found = Path(kubeconfig).expanduser().is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a folder closed to us, no such user, no such path
        raise ClusterConfigError(
            f"kubeconfig {kubeconfig!r} cannot be accessed ({error}); name a readable one with --kubeconfig FILE"
        ) from error
    if not found:
        raise ClusterConfigError(
            f"kubeconfig {kubeconfig} is not a file; name an existing one with --kubeconfig FILE"
        )
    try:
        config.load_kube_config(kubeconfig, client_configuration=settings, persist_config=False)
    except Exception as error:  # the loader raises whatever YAML, base64 and file access raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterConfigError(
            f"kubeconfig {kubeconfig} cannot be read ({first}); "
            f"check it with `kubectl --kubeconfig {kubeconfig} version`"
        ) from error
    return settings


def connect(kubeconfig: str | None, *, user_agent: str) -> ApiClient:
    """An API client from ``kubeconfig``, or from the pod's service account when that is None.

    Nothing is sent yet. Raises ClusterConfigError.
    """
    return client_of(_configuration(kubeconfig), user_agent=user_agent)


def client_of(settings: Configuration, *, user_agent: str) -> ApiClient:
    """An API client from loaded credentials. Nothing is sent yet."""
    settings.keep_alive = True  # TCP keep-alive: a watch on a silently vanished API server must end
    settings.retries = False  # each caller has its own policy, and counts its failures
    client = ApiClient(settings)
    client.user_agent = user_agent
    trust_as_kubectl(client)
    return client


def _message(response: RESTResponse) -> str:
    try:
        return str(orjson.loads(response.read())["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return str(response.reason)


def _unreachable(error: Exception) -> ApiError:
    """Whatever kept a request from being answered, in one line."""
    reason = error.reason if isinstance(error, ApiException) else error
    text = ": ".join(str(reason).split("\n"))
    if any(wrong in text for wrong in _OUT_OF_DATE):
        text += (
            f"; this machine's clock says {datetime.now(UTC):%Y-%m-%dT%H:%MZ}: set it right (NTP), "
            "or renew the server's certificate"
        )
    elif "CERTIFICATE_VERIFY_FAILED" in text:
        text += (
            "; check the CA in the kubeconfig, or the pod's service account's, against the server's certificate"
        )
    return ApiError(0, f"cannot reach the API server: {text}")


def open_stream(
    api: ApiClient,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: Any = None,
    content_type: str = "application/json",
    accept: str = "application/json",
    timeout: tuple[float, float] = REQUEST_TIMEOUT,
) -> RESTResponse:
    """Send a request and return the response with its body unread. Raises ApiError for anything but 2xx."""
    headers = {"Accept": accept}
    if body is not None:
        headers["Content-Type"] = content_type
    try:
        request = api.param_serialize(  # reads the service account's token anew now and then
            method, path, query_params=list((query or {}).items()), header_params=headers, body=body,
            auth_settings=["BearerToken"],
        )  # fmt: skip
        response: RESTResponse = api.call_api(*request, _request_timeout=timeout)
        if not 200 <= response.status <= 299:
            raise ApiError(response.status, _message(response))
    except (urllib3.exceptions.HTTPError, OSError, ApiException, config.ConfigException) as error:
        raise _unreachable(error) from error  # the client turns every failure of TLS into an ApiException
    return response


def request(
    api: ApiClient,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: Any = None,
    content_type: str = "application/json",
    accept: str = "application/json",
    timeout: tuple[float, float] = REQUEST_TIMEOUT,
) -> dict[str, Any]:
    """Send a request and return the JSON object of the answer. Raises ApiError."""
    response = open_stream(
        api, method, path, query=query, body=body, content_type=content_type, accept=accept, timeout=timeout
    )
    try:
        answer = orjson.loads(response.read())
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ApiError(0, f"the API server's response ended early: {error}") from error
    except orjson.JSONDecodeError as error:
        raise ApiError(0, f"the API server's response is not JSON: {error}") from error
    finally:
        response.response.release_conn()
    if not isinstance(answer, dict):
        raise ApiError(0, "the API server's response is not a JSON object")
    return answer
