"""The application that a server runs: the HTTP interface, behind its guard, over a queue of jobs."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from residiff.errors import ResidiffError
from residiff.version import VERSION
from residiff.web import Failure, Jobs, RefusedError
from residiff.web.http.api import router
from residiff.web.http.guard import Guard, answer
from residiff.web.http.metrics import Metrics

_CODES = {400: "bad_form", 404: "not_found", 405: "method_not_allowed"}


def create_app(jobs: Jobs) -> FastAPI:
    """The application over `jobs`, within their settings; who made the queue closes it."""
    app = FastAPI(
        title="residiff",
        version=VERSION,
        description="Restores pictures by residual diffusion models.",
        # Their pages load scripts from elsewhere
        docs_url=None,
        redoc_url=None,
    )
    app.state.jobs, app.state.metrics = jobs, Metrics(jobs)
    app.include_router(router)
    for kind in (RefusedError, ResidiffError):
        app.add_exception_handler(kind, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_values)
    app.add_exception_handler(HTTPException, _refuse_http)
    app.add_middleware(Guard, settings=jobs.settings, count=app.state.metrics.count)
    return app


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    return answer(Failure.of(error), _id_of(request))


async def _refuse_values(request: Request, error: Exception) -> JSONResponse:
    return answer(Failure("bad_parameter", "a part of the address cannot be so", 422), _id_of(request))


async def _refuse_http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    code = _CODES.get(error.status_code, HTTPStatus(error.status_code).phrase.lower().replace(" ", "_"))
    answered = answer(Failure(code, str(error.detail), error.status_code), _id_of(request))
    answered.headers.update(error.headers or {})
    return answered


def _id_of(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))
