"""The HTTP interface: each endpoint reads a request, calls the queue, and answers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from residiff.web import Failure, Job, Jobs, Product, RefusedError, Work
from residiff.web.http.forms import form_schema, read_form
from residiff.web.http.guard import FORMAT_VERSION
from residiff.web.http.metrics import Metrics

router = APIRouter()


class Fault(BaseModel):
    """Why there is no answer."""

    code: str
    message: str
    request_id: str


class FaultBody(BaseModel):
    """The body of every answer that is none."""

    format_version: int = FORMAT_VERSION
    error: Fault


class Steps(BaseModel):
    """Steps made, and of how many."""

    step: int
    steps: int


class JobError(BaseModel):
    """Why a job has no result."""

    code: str
    message: str


class JobResult(BaseModel):
    """What a job has made; `more` are names of files beside the result, under /v1/jobs/{id}/more/."""

    media_type: str
    name: str
    bytes: int
    compute_seconds: float
    change: float
    hint: str
    warnings: list[str]
    more: list[str]


class JobBody(BaseModel):
    """Where a job stands. `state` is queued, running, done, failed or cancelled; `position` is 1 for the next."""

    format_version: int = FORMAT_VERSION
    id: str
    state: str
    position: int
    progress: Steps
    seconds: float
    has_preview: bool
    result: JobResult | None
    error: JobError | None


class ModelBody(BaseModel):
    """A model that may be asked for."""

    name: str
    task: str
    summary: str
    steps: int
    max_steps: int
    needs_mask: bool
    size_multiple: int
    parameters: int
    sha256: str
    card: dict[str, Any]


class ModelsBody(BaseModel):
    """The models there are, and which is taken where none is named."""

    format_version: int = FORMAT_VERSION
    default: str
    models: list[ModelBody]


class Health(BaseModel):
    """Whether something is well."""

    format_version: int = FORMAT_VERSION
    status: str


def _faults(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the failures of an endpoint."""
    return {status: {"model": FaultBody, "description": _MEANINGS[status]} for status in statuses}


_MEANINGS = {
    400: "The form is damaged, or has too many parts or too large ones.",
    401: "The token is missing or another.",
    404: "There is no such thing.",
    408: "The request took too long to arrive.",
    409: "The job has no result: it has not ended, or was cancelled.",
    413: "Too many bytes, pixels, or steps for the pixels.",
    415: "No form, or a file of a kind that is not read.",
    422: "A field cannot be so, or a picture cannot be decoded.",
    503: "No room, or not ready; Retry-After says when to come again.",
    504: "The time for a job was over.",
}
_WORK_FAULTS = (400, 401, 404, 408, 413, 415, 422, 503)
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture.", "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}
_BESIDE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file: pictures are PNG, all else is JSON.",
        "content": {
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {}},
        },
    }
}


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


def _job(id: str, jobs: Annotated[Jobs, Depends(_jobs)]) -> Job:
    job = jobs.get(id)
    if job is None:
        kept = f"results are kept for {jobs.settings.keep:g} seconds"
        raise RefusedError(Failure("unknown_job", f"there is no such job; {kept}", 404))
    return job


Queue = Annotated[Jobs, Depends(_jobs)]
Known = Annotated[Job, Depends(_job)]


@router.post(
    "/v1/restore",
    response_class=Response,
    responses=_PICTURE | _faults(*_WORK_FAULTS, 504),
    openapi_extra={"requestBody": form_schema()},
)
async def restore(request: Request, jobs: Queue) -> Response:
    """Restore a picture: the answer is the result, in the format of the image unless asked otherwise."""
    job = await _submitted(request, jobs)
    try:
        await _ended(job, request)
    finally:
        job.cancel()
        jobs.forget(job)
    return _file(_product(job), job.work)


@router.post(
    "/v1/jobs",
    status_code=202,
    responses=_faults(*_WORK_FAULTS),
    openapi_extra={"requestBody": form_schema()},
)
async def submit(request: Request, response: Response, jobs: Queue) -> JobBody:
    """Take a job: the answer says where it stands, and Location where to ask again."""
    job = await _submitted(request, jobs)
    response.headers["location"] = f"/v1/jobs/{job.id}"
    return _told(job)


@router.get("/v1/jobs/{id}", responses=_faults(401, 404))
async def job(job: Known) -> JobBody:
    """Where a job stands."""
    return _told(job)


@router.delete("/v1/jobs/{id}", responses=_faults(401, 404))
async def cancel(job: Known) -> JobBody:
    """Cancel a job, which takes effect within a step; nothing where it has ended."""
    job.cancel()
    return _told(job)


@router.get("/v1/jobs/{id}/result", response_class=Response, responses=_PICTURE | _faults(401, 404, 409, 413, 415, 422))
async def result(job: Known) -> Response:
    """The picture that a job has made; where it has failed, why."""
    return _file(_product(job), job.work)


@router.get("/v1/jobs/{id}/preview", response_class=Response, responses=_PICTURE | _faults(401, 404))
async def preview(job: Known) -> Response:
    """A small picture, WebP, of what a job has made of it so far."""
    if job.preview is None:
        raise RefusedError(Failure("no_preview", "there is no preview yet, or there will be none", 404))
    return Response(job.preview, media_type="image/webp")


@router.get("/v1/jobs/{id}/more/{name}", response_class=Response, responses=_BESIDE | _faults(401, 404, 409))
async def more(name: str, job: Known) -> Response:
    """A file beside the result, by its name in the job's list."""
    files = {} if job.result is None else job.result.more
    if name not in files:
        raise RefusedError(Failure("unknown_file", "the job has no such file; `result.more` lists them", 404))
    media_type = "image/png" if name.endswith(".png") else "application/json"
    return Response(files[name], media_type=media_type)


@router.get("/v1/models", responses=_faults(401, 503))
async def models(jobs: Queue) -> ModelsBody:
    """The models that may be asked for."""
    if not jobs.models:
        jobs.check_room()
    return ModelsBody(default=jobs.default_model, models=[ModelBody(**entry._asdict()) for entry in jobs.models])


@router.get("/healthz")
async def healthz() -> Health:
    """Whether the server lives."""
    return Health(status="ok")


@router.get("/readyz", responses=_faults(503))
async def readyz(jobs: Queue) -> Health:
    """Whether jobs are taken: the worker is there, and the server is not about to end."""
    if not jobs.ready:
        code, why = ("draining", "is about to end") if jobs.draining else ("starting", "has no worker yet")
        raise RefusedError(Failure(code, f"the server {why}", 503, 5))
    return Health(status="ready")


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    held: Metrics = request.app.state.metrics
    return Response(await run_in_threadpool(held.text), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _submitted(request: Request, jobs: Jobs) -> Job:
    # Before the picture is read
    jobs.check_room()
    work = await read_form(request, jobs.settings.max_parts, jobs.default_model)
    return await run_in_threadpool(jobs.submit, work)


async def _ended(job: Job, request: Request) -> None:
    """Wait until a job has ended, or nobody waits for it any more."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def tell(job: Job) -> None:
        # The loop may be gone
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    job.add_done_callback(tell)
    waits = [asyncio.ensure_future(ended.wait()), asyncio.ensure_future(_gone(request))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _product(job: Job) -> Product:
    if job.result is not None:
        return job.result
    raise RefusedError(job.error or Failure("not_finished", f"the job is {job.state}; ask again in a while", 409, 1))


def _file(product: Product, work: Work) -> Response:
    headers = {
        "content-disposition": f"inline; filename*=UTF-8''{quote(product.name, safe='')}",
        "x-residiff-model": work.model,
        "x-residiff-seed": str(work.seed),
        "x-residiff-seconds": f"{product.seconds:.3f}",
    }
    if product.warnings:
        headers["x-residiff-warnings"] = quote("; ".join(product.warnings))
    return Response(product.data, media_type=product.media_type, headers=headers)


def _told(job: Job) -> JobBody:
    product, error, now = job.result, job.error, job.snapshot()
    made = None
    if product is not None:
        made = JobResult(
            media_type=product.media_type,
            name=product.name,
            bytes=len(product.data),
            compute_seconds=round(product.seconds, 3),
            change=product.change,
            hint=product.hint,
            warnings=list(product.warnings),
            more=sorted(product.more),
        )
    return JobBody(
        id=job.id,
        state=now.state,
        position=now.position,
        progress=Steps(**now.progress._asdict()),
        seconds=round(job.seconds, 3),
        has_preview=now.preview is not None,
        result=made,
        error=None if error is None else JobError(code=error.code, message=error.message),
    )
