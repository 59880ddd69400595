"""The page at the server's root, by which a person tries the model: page.html, one file that asks
the REST interface; and what that lacks, the symbols of a version.
"""

import asyncio
import html
import importlib.resources
import json

import grpc
from aiohttp import web

from regan_tf.serving.refusals import RejectedError
from regan_tf.serving.versions import MANIFEST, VOCABULARY

# The page is one file, and talks to this server alone.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def add_to(app: web.Application, model) -> None:
    """Adds the page of a Model to the application: GET / and /vocabulary/VERSION."""
    text = importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
    text = text.replace("{{ model }}", html.escape(model.name))

    async def page(request):
        headers = {"Content-Security-Policy": _POLICY}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def vocabulary(request):
        number = int(request.match_info["version"])
        path = model.find(model.name, number).path
        return web.json_response(await asyncio.to_thread(_vocabulary, path))

    app.router.add_get("/", page)
    app.router.add_get(r"/vocabulary/{version:[0-9]{1,18}}", vocabulary)


def _vocabulary(path):
    """The symbols of a version, what stands between them, and their pattern; see text.Vocabulary.

    Raises RejectedError if it is not one of ours.
    """
    try:
        lines = (path / "assets" / VOCABULARY).read_text("utf-8")
        of_text = json.loads((path / MANIFEST).read_text("utf-8"))["vocabulary"]
        return {"symbols": lines.split("\n")[:-1], **of_text}
    except (OSError, ValueError, KeyError) as error:
        raise RejectedError(
            grpc.StatusCode.NOT_FOUND, f"the version has no vocabulary for this page: {error}"
        ) from None
