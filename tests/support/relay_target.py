"""A program that is the target of a relay: an HTTP server that fails often, and goes away.

Started by `tests.support.processes.Service`; its settings are the seed of its failures and the
number that it always refuses. It reports each post, and whether it took it.
"""

from __future__ import annotations

import json
import random
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import chain
from threading import Thread
from typing import Any

from tests.support.receiver import report

__all__ = ["FAILING"]

FAILING = 0.3
"""Share of the posts whose connection is cut."""


def handler(chance: random.Random, poison: int) -> type[BaseHTTPRequestHandler]:
    class Target(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            is_cut = event["number"] != poison and chance.random() < FAILING
            taken = not is_cut and event["number"] != poison
            # Before the answer: whoever hears it may look at the reports.
            report("posted", taken=taken, **event)
            if not is_cut:
                self.send_response(200 if taken else 422)
                self.end_headers()

        def log_message(self, *_: object) -> None: ...

    return Target


def main(given: dict[str, Any]) -> None:
    """Serve until stdin ends, but for the times between ``down`` and ``up``."""
    target = handler(random.Random(given["seed"]), given["poison"])
    server = HTTPServer(("127.0.0.1", 0), target)
    address = server.server_address
    report("ready", port=address[1])
    for do in chain(["up"], (json.loads(line)["do"] for line in sys.stdin)):
        if do == "down":
            server.shutdown()
            server.server_close()
        elif do == "up":
            if server.fileno() < 0:
                server = HTTPServer((str(address[0]), int(address[1])), target)
            Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        report(do)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
