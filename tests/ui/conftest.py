"""A real Chromium before pages that are served as the Function App serves them."""

from __future__ import annotations

import threading

from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from hubwarden.web.pages import HEADERS, render
from hubwarden.web.view import MessageView


CHROMIUM = Path("/usr/bin/chromium")


class Site:
    """Pages by path, and what was asked for and sent to them."""

    def __init__(self, address):
        self.address = address
        self.views = {}
        self.gets, self.posts = [], defaultdict(list)

    def show(self, view, path="/page"):
        self.views[path] = view
        return self.address + path


@contextmanager
def serving():
    """A site on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            site.gets.append(self.path)
            view = site.views.get(self.path)
            if view is None:
                self.send_error(404)
                return
            self.send_response(view.status if isinstance(view, MessageView) else 200)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(render(view).encode())

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            site.posts[self.path].append(parse_qs(body, keep_blank_values=True))
            self.send_response(303)
            self.send_header("Location", "/after")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def chromium():
    """A browser; what it needs is imported here, so that the other tests do without."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    with chromium() as started:
        yield started


@pytest.fixture
def site():
    with serving() as served:
        yield served
