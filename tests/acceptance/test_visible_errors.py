"""The quick start with a mistake in the handler: what a newcomer gets to see of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.readme import blocks

QUICK_START = blocks("python")[0]
HANDLER = "def ship(events: Events) -> None:\n"

WITH_A_MISTAKE = QUICK_START.code.replace(
    HANDLER,
    f"attempts = []\n\n\n{HANDLER}"
    "    attempts.append(1)\n"
    "    if len(attempts) < 3:\n"
    "        raise KeyError('colour')\n",
)

STRUCTLOG = """
import logging, structlog
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.StackInfoRenderer(),
        structlog.dev.set_exc_info,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(colors=False),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
    context_class=dict,
    logger_factory=structlog.PrintLoggerFactory(),
    cache_logger_on_first_use=False,
)
"""
"""As structlog's documentation begins."""


def run(code: str, folder: Path, *options: str) -> tuple[str, str]:
    """Run *code*, in which every warning is an error; return what it prints."""
    command = [sys.executable, "-W", "error", "-X", "dev", *options, "-c", code]
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=240
    )
    assert ran.returncode == 0, ran.stderr
    assert "Exception ignored" not in ran.stderr
    assert "Warning" not in ran.stderr
    return ran.stdout, ran.stderr


def is_shown_once(text: str) -> bool:
    """Return whether the traceback of the mistake is in *text*, of the first attempt alone."""
    return (text.count("Traceback"), text.count("in ship"), text.count("attempt=2")) == (1, 1, 1)


def test_without_a_mistake_nothing_is_shown(tmp_path: Path) -> None:
    """F24."""
    assert run(QUICK_START.code, tmp_path) == (QUICK_START.output, "")


@pytest.mark.parametrize("dsn", ["embedded:./shop", "memory:"])
def test_an_error_in_the_handler_is_shown_with_its_traceback_at_the_first_attempt(
    tmp_path: Path, dsn: str
) -> None:
    """F24, G30: on stderr, though nobody has configured a log; and the store works on."""
    out, err = run(WITH_A_MISTAKE.replace("embedded:./shop", dsn), tmp_path)
    assert out == QUICK_START.output
    assert "delivery failed" in err
    assert "KeyError: 'colour'" in err
    assert is_shown_once(err)


@pytest.mark.parametrize("broken", ["selector", "mapper"])
def test_an_error_in_a_selector_or_a_mapper_is_shown_as_well(tmp_path: Path, broken: str) -> None:
    """F24, G30."""
    code = QUICK_START.code.replace(
        HANDLER,
        "attempts = []\n\n\ndef prepare(event):\n    attempts.append(1)\n"
        "    if len(attempts) < 3:\n        raise KeyError('colour')\n"
        f"    return {'True' if broken == 'selector' else 'event'}\n\n\n{HANDLER}",
    ).replace('"shipping", ship)', f'"shipping", ship, {broken}=prepare)')
    out, err = run(code.replace("embedded:./shop", "memory:"), tmp_path)
    assert out == QUICK_START.output
    assert (err.count("Traceback"), err.count("in prepare")) == (1, 1)


def test_an_error_is_shown_where_structlog_is_configured_as_its_documentation_begins(
    tmp_path: Path,
) -> None:
    """F23, F24."""
    out, err = run(f"{STRUCTLOG}\n{WITH_A_MISTAKE}".replace("embedded:./shop", "memory:"), tmp_path)
    assert err == ""
    assert out.endswith(QUICK_START.output)
    assert "KeyError: 'colour'" in out
    assert is_shown_once(out)


def test_a_processor_that_raises_harms_neither_the_store_nor_the_message(tmp_path: Path) -> None:
    """F23, G24: not even where it raises what ends a process."""
    broken = (
        "import structlog\n\n\ndef broken(*_):\n    raise SystemExit(3)\n\n\n"
        "structlog.configure(processors=[broken])\n"
    )
    out, err = run(f"{broken}{WITH_A_MISTAKE}".replace("embedded:./shop", "memory:"), tmp_path)
    assert out == QUICK_START.output
    assert is_shown_once(err)
