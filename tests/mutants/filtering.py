"""Mutants of filters: what is left out, what is passed over, what is stored of both."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant, replace
from tests.mutants.places.python_place import function
from tests.mutants.places.sql_place import sql_function

__all__ = ["FILTERING"]

_DELIVERED = "tests/conformance/subscriptions/test_filtered.py"
_PORT = "tests/conformance/port/test_filters.py"
_READ = "tests/conformance/test_filtering.py"
_UNIT = "tests/actors/delivering/test_delivery.py"

FILTERING = (
    Mutant(
        name="full-page-looked-to-its-limit",
        guarantee="G40",
        breaks="A page in memory that its count ended says that it looked further.",
        where=function("_matching", module="event_pages").returned(1).part(1),
        change=constant(False),
        killers=(f"{_PORT}::test_a_page_that_is_full_ends_at_its_last_event",),
    ),
    Mutant(
        name="undecided-is-left-out",
        guarantee="G40",
        breaks="What the database cannot decide is no match.",
        where=function("_decided").comparison(),
        change=replace("event_filter.decide(event) is True"),
        killers=(
            f"{_READ}::test_metadata_that_only_a_serializer_can_read_is_read_by_it",
            f"{_PORT}::test_it_chooses_what_a_plain_predicate_chooses",
        ),
    ),
    Mutant(
        name="live-events-unfiltered",
        guarantee="G40",
        breaks="Events that come from memory are delivered whatever the filter.",
        where=function("SubscriptionReader._left_of").assigned("wants"),
        change=constant(None),
        killers=(f"{_DELIVERED}::test_only_what_matches_is_delivered",),
    ),
    Mutant(
        name="passing-is-stored-each-time",
        guarantee="G40",
        breaks="The row is written for every event that is left out.",
        where=function("ProgressReporter._holds_back").assigned("is_passing"),
        change=constant(False),
        killers=(
            f"{_DELIVERED}::test_what_only_moved_over_others_is_stored_within_the_poll_interval",
        ),
    ),
    Mutant(
        name="true-is-one",
        guarantee="G40",
        breaks="In metadata, True matches 1.",
        where=function("_kind_and_value").condition(0),
        change=constant(False),
        killers=(f"{_READ}::test_every_read_returns_what_matches",),
    ),
    Mutant(
        name="any-filter-will-do",
        guarantee="G40",
        breaks="A subscription is taken over with another filter.",
        where=sql_function("claim_subscription").condition(mentioning="v_subscription.options <>"),
        change=constant(False),
        killers=(f"{_DELIVERED}::test_another_filter_is_refused_until_a_reset",),
    ),
    Mutant(
        name="memory-asked-where-nobody-was-sure",
        guarantee="G23",
        breaks="After an announcement of nobody knows how much, the memory may say that is all.",
        where=function("Delivery.begin_read").condition(mentioning="_may_be_more"),
        change=constant(False),
        killers=(f"{_UNIT}::test_what_nobody_was_sure_of_is_looked_for_beyond_what_was_announced",),
    ),
)
