"""Where the log goes: to structlog if it is configured, else to `logging`, else to stderr."""

from __future__ import annotations

import subprocess
import sys

import pytest

LINE = "listen lost schema='s' attempt=2"


def run(code: str) -> tuple[str, str]:
    """Run *code* in a fresh process; return what it prints to stdout and stderr."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ran.stdout.strip(), ran.stderr.strip()


def shown(setup: str) -> tuple[str, str]:
    code = f"{setup}\nfrom eventstore.model.log import get_logger\n"
    code += "get_logger(schema='s').warning('listen lost', attempt=2)\n"
    return run(code)


def structlog_with(**options: str) -> str:
    """Return the configuration of structlog's first steps, changed by *options*."""
    values = {
        "processors": "[structlog.processors.KeyValueRenderer(key_order=['event', 'schema'])]",
        "wrapper_class": "structlog.make_filtering_bound_logger(logging.NOTSET)",
        "context_class": "dict",
        "logger_factory": "structlog.PrintLoggerFactory()",
        "cache_logger_on_first_use": "False",
        **options,
    }
    given = ", ".join(f"{name}={value}" for name, value in values.items())
    return f"import logging, structlog\nstructlog.configure({given})"


# ── without structlog ────────────────────────────────────────────────────────────────────────


def test_a_warning_is_shown_on_stderr_unless_the_application_says_otherwise() -> None:
    """F24."""
    assert shown("") == ("", LINE)


def test_what_is_no_warning_is_silent_by_default() -> None:
    """F24."""
    code = "from eventstore.model.log import get_logger\n"
    code += "get_logger().info('listening')\nget_logger().debug('notice')\n"
    assert run(code) == ("", "")


def test_an_application_can_silence_it() -> None:
    """F24."""
    silence = "logging.getLogger('eventstore').addHandler(logging.NullHandler())"
    assert shown(f"import logging\n{silence}") == ("", "")


def test_standard_logging_shows_lines() -> None:
    setup = "import logging; logging.basicConfig(format='%(name)s %(levelname)s %(message)s')"
    assert shown(setup) == ("", f"eventstore WARNING {LINE}")


def test_a_line_names_the_place_that_logs() -> None:
    setup = "import logging; logging.basicConfig(format='%(module)s:%(lineno)d')"
    assert shown(setup) == ("", "<string>:3")


def test_a_level_below_the_configured_one_is_not_shown() -> None:
    setup = "import logging; logging.basicConfig(level=logging.ERROR)"
    assert shown(setup) == ("", "")


def test_an_exception_keeps_its_traceback() -> None:
    code = (
        "import logging; logging.basicConfig()\n"
        "from eventstore.model.log import get_logger\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError as error:\n"
        "    get_logger().exception('crashed')\n"
        "    get_logger().warning('again', exc_info=error)\n"
    )
    _, err = run(code)
    assert "crashed" in err
    assert err.count("ZeroDivisionError: ") == 2


def test_the_text_of_a_traceback_stands_below_its_line() -> None:
    """F24."""
    code = "from eventstore.model.log import get_logger\n"
    code += "get_logger().warning('delivery failed', exception='Traceback\\n  100 %')\n"
    assert run(code) == ("", "delivery failed\nTraceback\n  100 %")


# ── with structlog ───────────────────────────────────────────────────────────────────────────

IN_STRUCTLOG = "event='listen lost' schema='s' attempt=2"


def test_structlog_as_its_documentation_begins_gets_the_entries() -> None:
    """F23."""
    assert shown(structlog_with()) == (IN_STRUCTLOG, "")


@pytest.mark.parametrize(
    ("factory", "wrapper"),
    [
        ("structlog.PrintLoggerFactory()", "structlog.BoundLogger"),
        ("structlog.PrintLoggerFactory()", "structlog.stdlib.BoundLogger"),
        ("structlog.WriteLoggerFactory()", "structlog.make_filtering_bound_logger(20)"),
        ("lambda *names: structlog.PrintLogger()", "structlog.BoundLogger"),
    ],
)
@pytest.mark.parametrize("cached", ["True", "False"])
def test_any_logger_factory_and_wrapper_class_get_the_entries(
    factory: str, wrapper: str, cached: str
) -> None:
    """F23."""
    setup = structlog_with(
        logger_factory=factory, wrapper_class=wrapper, cache_logger_on_first_use=cached
    )
    assert shown(setup) == (IN_STRUCTLOG, "")


def test_structlog_over_the_standard_library_gets_the_entries_by_its_logger() -> None:
    """F23."""
    setup = "import logging; logging.basicConfig(format='%(name)s %(message)s')\n" + structlog_with(
        processors="[structlog.stdlib.filter_by_level, structlog.processors.JSONRenderer()]",
        wrapper_class="structlog.stdlib.BoundLogger",
        logger_factory="structlog.stdlib.LoggerFactory()",
    )
    assert shown(setup) == (
        "",
        'eventstore {"schema": "s", "attempt": 2, "event": "listen lost"}',
    )


def test_structlog_that_is_configured_late_gets_the_entries_from_then_on() -> None:
    """F23."""
    code = "from eventstore.model.log import get_logger\nlog = get_logger(schema='s')\n"
    code += f"log.info('silent')\n{structlog_with()}\nlog.warning('listen lost', attempt=2)\n"
    assert run(code) == (IN_STRUCTLOG, "")


def test_an_entry_that_a_processor_drops_is_dropped() -> None:
    """F23."""
    drop = "def drop(*_): raise structlog.DropEvent\n"
    setup = f"import structlog\n{drop}" + structlog_with(processors="[drop]")
    assert shown(setup) == ("", "")


RAISING = """
import threading
from eventstore.model.log import get_logger

class Broken:
    def __repr__(self): raise error

def broken(*_): raise error

def log():
    for value in (1, Broken()):
        get_logger().warning("listen lost", value=value)
        try: raise KeyError(1)
        except KeyError: get_logger().exception("crashed", value=value)
    ended.append(True)

ended = []
thread = threading.Thread(target=log)
thread.start()
thread.join()
print(ended)
"""


@pytest.mark.parametrize("error", ["ValueError()", "SystemExit()", "KeyboardInterrupt()"])
@pytest.mark.parametrize(
    "options",
    [
        {"processors": "[lambda *_: broken()]"},
        {"processors": "[]"},
        {"wrapper_class": "lambda *_: broken()"},
        {"logger_factory": "lambda *_: broken()"},
        {"logger_factory": "lambda: 1"},
        {"wrapper_class": "structlog.stdlib.AsyncBoundLogger"},
        {"wrapper_class": "int"},
    ],
    ids=str,
)
def test_no_configuration_of_structlog_can_hurt(error: str, options: dict[str, str]) -> None:
    """F23: the entry goes to the standard library then."""
    out, err = run(f"error = {error}\n{structlog_with(**options)}\n{RAISING}")
    assert out == "[True]"
    assert "listen lost value=1" in err


@pytest.mark.parametrize("error", ["ValueError()", "SystemExit()", "KeyboardInterrupt()"])
def test_no_filter_of_the_standard_library_can_hurt(error: str) -> None:
    """F23."""
    setup = "import logging; logging.getLogger('eventstore').addFilter(lambda record: broken())"
    assert run(f"error = {error}\n{setup}\n{RAISING}")[0] == "[True]"
