"""The web page: what the command line does to pictures, for people with a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from residiff.errors import ResourceError
from residiff.web.page.shelf import Shelf

if TYPE_CHECKING:
    from fastapi import FastAPI

    from residiff.web import Jobs, Settings

__all__ = ["mount"]


def mount(app: FastAPI, jobs: Jobs, settings: Settings) -> FastAPI:
    """Mount the page at "/" of a server, behind what the server answers itself; its files go when the server ends.

    With a token the page asks for it: any user name, the token as the password.

    Raises
    ------
    ResourceError
        If Gradio is not installed.
    """
    shelf = Shelf()
    try:
        from residiff.web.page.blocks import build, mount_page
        from residiff.web.page.desk import Bounds
    except ImportError as error:
        shelf.close()
        missing = f'the page needs {error.name}; run `pip install "residiff[web]"`, or leave it out by --no-page'
        raise ResourceError(missing) from error
    page = build(jobs, Bounds(file_bytes=settings.max_body, max_pixels=settings.max_pixels), shelf)
    return mount_page(app, page, settings.token)
