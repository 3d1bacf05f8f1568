"""How mutants name a place and a change: each word of the vocabulary, on a product of two files."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from tests.mutants.places.changes import (
    after,
    attribute,
    before,
    calls,
    constant,
    negate,
    once,
    operator,
    otherwise,
    remove,
    replace,
    then,
)
from tests.mutants.places.place import Change, DoesNotApplyError, Place
from tests.mutants.places.product import Product
from tests.mutants.places.python_place import function, variable
from tests.mutants.places.sql_place import sql_function, sql_table, sql_trigger

PYTHON = '''
import time
from functools import cache

LIMITS = {"soft": 3, "hard": 5}


class Box:
    longest: float = 2.0

    @cache
    def put(self, item: int, *, force: bool = False) -> bool:
        """Grüße."""
        if self.full and not force:
            raise OverflowError("full")
        elif item < 0 or item > LIMITS["hard"]:
            return False
        else:
            self.items.append(item)
        while self.count < len(self.items):
            self.count += 1
        try:
            self.write(item, timeout=self.longest)
        except (OSError, ValueError) as error:
            self.error = error
        for each in (item, self.count):
            self.note(each)
        match item:
            case 1 | 2:
                time.sleep(min(1, 2))
        return True if item else self.full
'''

SQL = """
CREATE TABLE :"schema".boxes (
  box_id bigint CONSTRAINT boxes_pkey PRIMARY KEY,   -- a CONSTRAINT that a comment names
  size   integer NOT NULL CONSTRAINT boxes_size CHECK (size > 0)
);
CREATE FUNCTION :"schema".put(p_id bigint, p_size integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = :"schema", pg_temp SET jit = off AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
BEGIN
  IF p_size < 0 OR p_size > 9 AND p_id IS NOT NULL THEN
    RETURN greatest(p_id, 0);
  END IF;
  UPDATE boxes b SET size = CASE WHEN b.size = 1 THEN 2 ELSE p_size END, box_id = p_id
   WHERE b.box_id = p_id AND b.size BETWEEN 1 AND 9
  RETURNING b.box_id INTO p_id;
  PERFORM 1 FROM boxes WHERE size = 1 FOR UPDATE SKIP LOCKED;
  DELETE FROM boxes WHERE size = 1 AND (box_id = 1 OR (box_id, size) = (2, 3));
  RETURN (SELECT max(size) + 1 AS largest FROM boxes);
END $$;
CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON :"schema".boxes
  EXECUTE FUNCTION :"schema".put();
"""

put = function("Box.put")
put_row = sql_function("put")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    tree: Path = tmp_path_factory.mktemp("product")
    (tree / "shop").mkdir()
    (tree / "shop" / "box.py").write_text(PYTHON, "utf-8")
    (tree / "schema.sql").write_text(SQL, "utf-8")
    (tree / "pyproject.toml").write_text(
        '[tool.hatch.build.targets.wheel]\npackages = ["shop"]\n'
        '[tool.hatch.build.targets.wheel.force-include]\n"schema.sql" = "shop/schema.sql"\n',
        "utf-8",
    )
    return Product(tree)


def changed(product: Product, place: Place, change: Change) -> str:
    """Return the lines that the change puts in the place of others, without their margins."""
    edit = change(place.find(product))
    lines = difflib.ndiff(edit.source.splitlines(), edit.result.splitlines())
    if edit.file.suffix == ".py":
        compile(edit.result, "box.py", "exec")
    return " / ".join(line[2:].strip() for line in lines if line.startswith("+ "))


@pytest.mark.parametrize(
    ("place", "change", "expected"),
    [
        (put.condition(0), constant(value=False), "if False:"),
        (put.condition(mentioning="full"), negate, "if (not (self.full and not force)):"),
        (put.condition(0).part(mentioning="force"), remove, "if (self.full):"),
        (put.boolean("or"), operator("and"), 'elif ((item < 0) and (item > LIMITS["hard"])):'),
        (put.comparison("<", 0), operator("<="), 'elif ((item) <= (0)) or item > LIMITS["hard"]:'),
        (put.condition(1).statement(), replace("self.note(1)"), "self.note(1)"),
        (put.condition(2).statement(), once, "if self.count < len(self.items):"),
        (put.condition(2).statement(), then("self.note(item)"), "self.note(item)"),
        (put.condition(1).statement(), otherwise("pass"), "pass"),
        (put.call("append"), calls("note"), "self.items.note(item)"),
        (put.call("append"), remove, "pass"),
        (put.call("append"), before("self.note(0)"), "self.note(0)"),
        (put.call("append").statement(), after("self.note(0)"), "self.note(0)"),
        (put.call("write").part(), constant(value=None), "self.write(None, timeout=self.longest)"),
        (put.keyword("timeout"), remove, "self.write(item)"),
        (put.keyword("timeout"), replace("2 * {}"), "self.write(item, timeout=(2 * self.longest))"),
        (put.assignment("count"), remove, "pass"),
        (put.assigned("error"), constant("none"), "self.error = 'none'"),
        (put.caught().part(mentioning="OSError"), remove, "except (ValueError,) as error:"),
        (put.raised(), replace("ValueError({})"), 'raise ValueError(OverflowError("full"))'),
        (put.iterated().part(0), remove, "for each in (self.count,):"),
        (put.pattern().part(1), remove, "case (1):"),
        (put.reference("longest"), constant(1.5), "self.write(item, timeout=1.5)"),
        (put.reference("longest"), attribute("count"), "self.write(item, timeout=self.count)"),
        (put.literal("full"), constant("empty"), "raise OverflowError('empty')"),
        (put.returned(1).part(0), constant(value=False), "return False if item else self.full"),
        (put.default("force"), constant(value=True), "force: bool = True) -> bool:"),
        (put.decorator("cache"), replace("staticmethod"), "@staticmethod"),
        (variable("LIMITS").entry("hard"), constant(6), 'LIMITS = {"soft": 3, "hard": 6}'),
        (variable("Box.longest").assigned("longest"), constant(3.0), "longest: float = 3.0"),
    ],
)
def test_a_change_of_python(product: Product, place: Place, change: Change, expected: str) -> None:
    assert changed(product, place, change).endswith(expected)


@pytest.mark.parametrize(
    ("place", "change", "expected"),
    [
        (put_row.condition(), constant(value=True), "IF true THEN"),
        (
            put_row.condition().alternative(0),
            remove,
            "IF false OR p_size > 9 AND p_id IS NOT NULL THEN",
        ),
        (
            put_row.condition().alternative(1).conjunct(mentioning="p_id"),
            remove,
            "IF p_size < 0 OR p_size > 9 AND true THEN",
        ),
        (
            put_row.statement("UPDATE").where().conjunct(1),
            negate,
            "WHERE b.box_id = p_id AND NOT (b.size BETWEEN 1 AND 9)",
        ),
        (put_row.statement("UPDATE").where(), constant(value=True), "WHERE true"),
        (
            put_row.statement("DELETE").where().conjunct(1).alternative(0),
            remove,
            "DELETE FROM boxes WHERE size = 1 AND (false OR (box_id, size) = (2, 3));",
        ),
        (
            put_row.statement("DELETE").where().conjunct(1).alternative(1),
            remove,
            "DELETE FROM boxes WHERE size = 1 AND (box_id = 1 OR false);",
        ),
        (
            put_row.statement("UPDATE").assigned("size").when(),
            constant(value=False),
            "UPDATE boxes b SET size = CASE WHEN false THEN 2 ELSE p_size END, box_id = p_id",
        ),
        (
            put_row.statement("update  BOXES").assigned("size"),
            replace("p_size"),
            "UPDATE boxes b SET size = p_size, box_id = p_id",
        ),
        (
            put_row.statement("UPDATE").set_clause(),
            replace("size = 1"),
            "UPDATE boxes b SET size = 1",
        ),
        (put_row.assigned("v_now"), constant(value=None), "v_now timestamptz := NULL;"),
        (put_row.call("greatest").argument(1), constant(-1), "RETURN greatest(p_id, -1);"),
        (
            put_row.column("largest"),
            constant(0),
            "RETURN (SELECT 0 AS largest FROM boxes);",
        ),
        (put_row.statement("PERFORM"), remove, "NULL;"),
        (
            put_row.phrase("SKIP LOCKED"),
            remove,
            "PERFORM 1 FROM boxes WHERE size = 1 FOR UPDATE ;",
        ),
        (
            put_row.statement("RETURN", mentioning="boxes"),
            before("PERFORM 1"),
            "PERFORM 1; RETURN (SELECT max(size) + 1 AS largest FROM boxes);",
        ),
        (
            put_row.setting("search_path"),
            replace('pg_temp, :"schema"'),
            'LANGUAGE plpgsql SET search_path = pg_temp, :"schema" SET jit = off AS $$',
        ),
        (sql_table("boxes").constraint("boxes_size"), remove, "size   integer NOT NULL"),
        (
            sql_trigger("refuse", on="boxes").phrase("UPDATE OR"),
            remove,
            'CREATE TRIGGER refuse BEFORE  DELETE ON :"schema".boxes',
        ),
    ],
)
def test_a_change_of_the_schema(
    product: Product, place: Place, change: Change, expected: str
) -> None:
    assert changed(product, place, change) == expected


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (function("Box.get"), remove, r"no Box\.get; near it are:\n  Box\.put in shop\.box"),
        (function("put", module="shelf"), remove, r"no put in a module shelf"),
        (put.condition(), remove, r"wanted one condition, found 4\n  0: line 14: self\.full and"),
        (put.condition(9), remove, r"wanted condition number 9, found 4"),
        (put.condition(mentioning="nobody"), remove, r"no condition that mentions 'nobody' among"),
        (put.call("append"), once, r"is no loop"),
        (put.call("append"), replace("nobody"), r"names that mean nothing here: \['nobody'\]"),
        (put.call("append"), replace("self.nothing"), r"mean nothing here: \['nothing'\]"),
        (put.call("append"), calls("apend"), r"mean nothing here: \['apend'\]"),
        (put.call("append"), replace("1 +"), r"is no Python"),
        (put.condition(0).statement(), otherwise("pass"), r"goes on with an elif"),
        (sql_function("take"), remove, r"no FUNCTION take; near it are: .*FUNCTION put"),
        (put_row.statement("INSERT"), remove, r"FUNCTION put > statement INSERT: wanted one"),
        (put_row.condition(mentioning="p_name"), remove, r"among:\n  line 11: p_size < 0"),
        (put_row.condition(), replace("p_nothing"), r"words that the schema does not"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_why(
    product: Product, place: Place, change: Change, message: str
) -> None:
    with pytest.raises(DoesNotApplyError, match=message):
        change(place.find(product))
