"""`/docs`: Swagger UI from a package on this machine, so that nothing is loaded from elsewhere."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from reelin.errors import NotFound

#: Only the files of the package's are used: its own pages have scripts within them, and a page that may run those
#: may run anybody's.
_PACKAGE = "fastapi_offline"
_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
_START = "start.js"
#: Swagger UI draws its arrows from `data:` images, and sets styles by script only.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Reelin API</title>
<link rel="icon" href="/docs/favicon.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; <a href="/openapi.json">/openapi.json</a> does not.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/{_START}"></script>
</body>
</html>
"""
_SCRIPT = """\
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
"""


class DocsRoutes:
    def router(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/docs", self.page)
        router.add_api_route("/docs/{name}", self.asset)
        return router

    async def page(self) -> Response:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    async def asset(self, name: str) -> Response:
        if name == _START:
            return Response(_SCRIPT, media_type="text/javascript")
        if name not in _TYPES:
            raise NotFound("page", name)
        return FileResponse(Path(str(files(_PACKAGE) / "static" / name)), media_type=_TYPES[name])
