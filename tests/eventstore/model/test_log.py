"""The library is silent unless the application asks for its log."""

from __future__ import annotations

import subprocess
import sys


def shown(setup: str) -> tuple[str, str]:
    code = f"{setup}\nfrom eventstore.model.log import get_logger\n"
    code += "get_logger(schema='s').warning('listen lost', attempt=2)\n"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip(), run.stderr.strip()


def test_nothing_is_shown_unless_asked() -> None:
    assert shown("") == ("", "")


def test_standard_logging_shows_lines() -> None:
    setup = "import logging; logging.basicConfig(format='%(name)s %(levelname)s %(message)s')"
    assert shown(setup) == ("", "eventstore WARNING listen lost schema='s' attempt=2")


def test_an_exception_keeps_its_traceback() -> None:
    code = (
        "import logging; logging.basicConfig()\n"
        "from eventstore.model.log import get_logger\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError as error:\n"
        "    get_logger().exception('crashed')\n"
        "    get_logger().warning('again', exc_info=error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "crashed" in run.stderr
    assert run.stderr.count("ZeroDivisionError: ") == 2


def test_a_configured_structlog_renders_with_its_own_processors() -> None:
    setup = (
        "import logging, structlog\n"
        "logging.basicConfig(format='%(message)s')\n"
        "structlog.configure(processors=[structlog.processors.JSONRenderer(sort_keys=True)])"
    )
    assert shown(setup) == ("", '{"attempt": 2, "event": "listen lost", "schema": "s"}')


def test_a_level_below_the_configured_one_is_not_shown() -> None:
    setup = "import logging; logging.basicConfig(level=logging.ERROR)"
    assert shown(setup) == ("", "")
