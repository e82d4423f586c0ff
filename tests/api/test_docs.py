"""The page that describes the API."""

from __future__ import annotations

import re

from tests.api.conftest import Api


async def test_the_documentation_loads_nothing_from_elsewhere(api: Api) -> None:
    page = await api.client.get("/docs")
    named = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(named) == 5
    for path in named:
        assert path.startswith("/") and not path.startswith("//")
        answer = await api.client.get(path)
        assert answer.status_code == 200, path
    assert "SwaggerUIBundle" in (await api.client.get("/docs/swagger-ui-bundle.js")).text


async def test_the_documentation_may_run_no_script_but_its_own(api: Api) -> None:
    page = await api.client.get("/docs")
    assert "<script>" not in page.text
    assert "onload" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "unsafe" not in policy


async def test_nothing_else_is_served_beside_the_documentation(api: Api) -> None:
    for path in ("/docs/redoc.standalone.js", "/docs/..%2f__init__.py", "/docs/core.py", "/redoc"):
        assert (await api.client.get(path)).status_code == 404, path
