from __future__ import annotations

from uuid import uuid4

import pytest

from tests.support.cli import Shell


@pytest.fixture
def shell(dsn: str, schema: str) -> Shell:
    shell = Shell(dsn, schema)
    shell.run("init")
    return shell


def test_append_prints_version_and_position(shell: Shell) -> None:
    assert shell.run("append", "order-1", "Placed", "{}") == "order-1: version 1, position 1\n"
    lines = '{"a": 1}\n\n{"a": 2}\n'
    printed = shell.run("append", "order-1", "Changed", stdin=lines)
    assert printed == "order-1: versions 2 to 3, positions 2 to 3\n"
    [result] = shell.json("append", "order-2", "Placed", "-", stdin="1\n2\n3")
    assert result == {
        "stream_id": "order-2",
        "first_version": 1,
        "last_version": 3,
        "first_global_position": 4,
        "last_global_position": 6,
        "repeated": False,
    }


@pytest.mark.parametrize(
    "value", ["null", "-1", "1.5", '"text"', "[]", '{"a": {"b": [1e2, true]}}', "123456789" * 9]
)
def test_every_kind_of_json_is_data(shell: Shell, value: str) -> None:
    """G28."""
    shell.run("append", "s", "T", value, "--metadata", value)
    shell.run("append", "s", "T", "-", stdin=value)
    first, second = shell.json("read", "s")
    assert first["data"] == first["metadata"] == second["data"]


def test_expected_versions_are_enforced(shell: Shell) -> None:
    """G2."""

    def append(expected: str) -> list[str]:
        return ["append", "s", "T", "1", "--expected-version", expected]

    assert "version 0" in shell.refused(*append("1"), code=1)
    assert "version 0" in shell.refused(*append("stream-exists"), code=1)
    shell.run(*append("no-stream"))
    assert "stream 's' is at version 1" in shell.refused(*append("no-stream"), code=1)
    assert "version 1" in shell.refused(*append("0"), code=1)
    assert "version 1, expected 2" in shell.refused(*append("2"), code=1)
    shell.run(*append("1"))
    shell.run(*append("stream-exists"))
    shell.run(*append("any"))
    assert len(shell.json("read", "s")) == 4


def test_an_append_with_an_event_id_can_be_repeated(shell: Shell) -> None:
    """G6."""
    command = ["append", "s", "T", "1", "--event-id", str(uuid4()), "--expected-version", "0"]
    assert shell.run(*command) == "s: version 1, position 1\n"
    assert shell.run(*command) == "s: version 1, position 1 (stored before)\n"
    [again] = shell.json(*command)
    assert again["repeated"]
    other = [*command]
    other[1] = "other"
    assert "already used" in shell.refused(*other, code=1)
    command[3] = "2"
    assert "already stored with another type or other data" in shell.refused(*command, code=1)


def test_lines_are_appended_together_or_not_at_all(shell: Shell) -> None:
    """G1."""
    complaint = shell.refused("append", "s", "T", stdin='1\n2\n{"a":\n4\n', code=1)
    assert complaint == "standard input, line 3: not JSON: it ends too early"
    shell.refused("append", "s", "T", stdin='1\n"\\u0000"\n', code=1)
    assert "does not exist" in shell.refused("read", "s", code=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s", "T", "{"], "DATA: not JSON: it ends too early"),
        (["s", "T", "NaN"], "DATA: not JSON: NaN and Infinity are not JSON numbers"),
        (["s", "T", "[Infinity]"], "DATA: not JSON: NaN and Infinity are not JSON numbers"),
        (["s", "T", '"\\ud800"'], "DATA: not JSON: it holds a lone surrogate"),
        (["s", "T", "1e999"], "DATA: not JSON: number '1e999' is out of range"),
        (["s", "T", "{'a': 1}"], "DATA: not JSON"),
        (["s", "T", ""], "DATA: not JSON: there is nothing"),
        (["s", "T", "[" * 50_000], "DATA: nested too deeply"),
        (["s", "T", "1", "--metadata", "x"], "--metadata: not JSON"),
        (["s", "T", '{"a": 1, "a": 2}'], "DATA: key 'a' is given twice in one object"),
        (["s", "T", '[{"b": {"a": 1, "\\u0061": 1}}]'], "DATA: key 'a' is given twice"),
        (["s", "T", "1", "--metadata", '{"a": 1, "a": 1}'], "--metadata: key 'a' is given twice"),
        (["", "T", "1"], "stream_id must not be empty"),
        (["$s", "T", "1"], "stream_id must not start with '$'"),
        (["$all", "T", "1"], "stream_id must not start with '$'"),
        (["字" * 1000, "T", "1"], "3000 bytes"),
        (["s", "", "1"], "event_type must not be empty"),
        (["s", "T" * 1001, "1"], "event_type is 1001 bytes"),
        (["s", "T"], "nothing to append"),
        (["s", "T", "-"], "nothing to append"),
    ],
)
def test_wrong_arguments_are_exit_code_2(shell: Shell, arguments: list[str], said: str) -> None:
    assert said in shell.refused("append", *arguments, code=2)


def test_one_event_id_cannot_name_several_events(shell: Shell) -> None:
    command = ["append", "s", "T", "--event-id", str(uuid4())]
    assert "the standard input has 2" in shell.refused(*command, stdin="1\n2\n", code=2)


def test_text_with_nul_is_refused(shell: Shell) -> None:
    assert "NUL" in shell.refused("append", "s", "T", '"\\u0000"', code=1)


def test_a_key_that_is_given_twice_is_refused_in_lines_too(shell: Shell) -> None:
    """F56, G28: at any depth; the same key in two objects is none of them."""
    shell.run("append", "s", "T", "-", stdin='[{"a": 1}, {"a": {"a": 2}}]\n{"a": "\\"a\\":"}\n')
    complaint = shell.refused("append", "s", "T", "-", stdin='1\n[[{"a":1,"a":2}]]\n', code=1)
    assert complaint == "standard input, line 2: key 'a' is given twice in one object"
    assert len(shell.json("read", "s")) == 2


def test_a_byte_order_mark_is_no_part_of_the_first_line(shell: Shell) -> None:
    """F48: as in a file that is imported."""
    shell.run("append", "s", "T", "-", stdin=b"\xef\xbb\xbf1\r\n2\r\n")
    assert [event["data"] for event in shell.json("read", "s")] == [1, 2]
    complaint = shell.refused("append", "s", "T", "-", stdin=b"1\n\xef\xbb\xbf2\n", code=1)
    assert complaint.startswith("standard input, line 2: not JSON: unexpected")


def test_a_payload_that_is_nested_too_deeply_is_refused(shell: Shell) -> None:
    """F25, G28."""
    shell.run("append", "s", "T", "[" * 200 + "]" * 200)
    deep = "[" * 201 + "]" * 201
    assert "more than 200 levels deep" in shell.refused("append", "s", "T", deep, code=1)
    assert len(shell.json("read", "s")) == 1
