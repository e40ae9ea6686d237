"""The app of `kpi serve`: its routes, and what every request passes through.

Belongs here: putting the parts together. Not here: any of the parts.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from traceback import format_exception

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.scrub import scrub
from kpi_assets.settings import Settings
from kpi_assets.surface import operations
from kpi_assets.surface.answer import RENDERS, Answers
from kpi_assets.surface.api import checks, events, guide, kpis, rows, semantic
from kpi_assets.surface.api import questions as api_questions
from kpi_assets.surface.api.parameters import problem_of
from kpi_assets.surface.changes import Changes, changes_of
from kpi_assets.surface.databases import Databases
from kpi_assets.surface.figures import Figures
from kpi_assets.surface.files import Files
from kpi_assets.surface.numbers import Numbers
from kpi_assets.surface.pages import embed, kpi, overview, questions
from kpi_assets.surface.problems import Problem, problem_response
from kpi_assets.surface.security import Shield, policy_of
from kpi_assets.surface.static_files import StaticFolder

logger = logging.getLogger(__name__)

LOOK_AGAIN = 2.0  # seconds between two looks at the pipelines' files


@dataclass(frozen=True)
class Surface:
    """What every route may use, as `request.app.state.surface`."""

    settings: Settings
    files: Files
    answers: Answers
    numbers: Numbers
    figures: Figures
    changes: Changes

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """The pipelines by name, as their files are now."""
        return self.files.pipelines


def make_app(settings: Settings, pipelines: Mapping[str, Pipeline] | None = None, port: int | None = None) -> FastAPI:
    """Return the app. `settings` name the warehouse server. Without `pipelines` it reads the files once it runs."""
    files, numbers = Files(settings, pipelines), Numbers()
    databases = Databases(settings, RENDERS + 3)
    answers = Answers(databases, files, numbers)
    figures = Figures(databases, files)
    surface = Surface(settings, files, answers, numbers, figures, changes_of(answers))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.ensure_future(_watch(files))
        yield
        watch.cancel()
        surface.changes.close()
        figures.close()
        answers.close()

    app = FastAPI(
        title="KPIs",
        version="1",
        summary="Published KPIs, with what is known of each number.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # operations.py serves it, as any other answer
        redirect_slashes=False,  # to an address that the request would name
        lifespan=lifespan,
    )
    app.state.surface = surface
    app.include_router(operations.router)
    for module in (overview, kpi, embed, questions, kpis, rows, checks, events, semantic, api_questions, guide):
        app.include_router(module.router, dependencies=[Depends(_files_read)])
    app.include_router(operations.of_data, dependencies=[Depends(_files_read)])
    app.mount("/static", StaticFolder())
    app.add_middleware(Shield, policy=policy_of(settings, port or settings.serve_port), numbers=numbers)
    app.exception_handler(Problem)(_on_problem)
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(RequestValidationError)(_on_wrong_parameter)
    return app


async def _watch(files: Files) -> None:
    while True:
        try:
            if found := await asyncio.get_running_loop().run_in_executor(None, files.read_anew):
                files.take(found)
                if files.problem:
                    logger.warning("%s", files.problem)
        except Exception as error:
            logger.error("The pipelines' files could not be read: %s", scrub("".join(format_exception(error))))
        await asyncio.sleep(LOOK_AGAIN)


async def _files_read(request: Request) -> None:
    """Wait until the pipelines' files have been read for the first time, which takes a second."""
    files: Files = request.app.state.surface.files
    for _ in range(100):
        if files.is_read:
            return
        await asyncio.sleep(0.1)
    raise Problem(503, detail="The pipelines' files are still being read.", headers={"Retry-After": "5"})


async def _on_problem(request: Request, error: Problem) -> Response:
    return problem_response(request.url.path, error)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    detail = "There is nothing at this address." if error.status_code == 404 else ""
    return problem_response(request.url.path, Problem(error.status_code, detail=detail))


async def _on_wrong_parameter(request: Request, error: RequestValidationError) -> Response:
    """Say which parameter is wrong. The value is not quoted."""
    return problem_response(request.url.path, problem_of(error))
