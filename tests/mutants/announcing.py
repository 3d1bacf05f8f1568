"""Mutants of how new events are heard of, and of the memory of the newest."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import calls, constant, operator, remove, replace, then
from tests.mutants.places.python_place import function

__all__ = ["ANNOUNCING"]

_FAULTS = "tests/eventstore/postgres/test_listening_faults.py"
_HISTORY = "tests/eventstore/postgres/test_listening_history.py"
_ANNOUNCER = "tests/actors/announcing/test_announcer.py"
_ANNOUNCED = "tests/eventstore/postgres/test_announce_session.py"
_WRITER = "tests/actors/appending/test_writer.py"
_LISTENING = "tests/actors/announcing/test_listener.py"
_NEWS = "tests/conformance/port/test_listening.py"
_MEMORY = "tests/actors/state/test_recent_events.py"
_PUBLISHING = "tests/actors/announcing/test_publisher.py"
_QUEUE = "tests/acceptance/guarantees/test_announcing.py"
_GONE = "tests/acceptance/guarantees/test_deletions.py"
_NOT_DELIVERED = (
    f"{_GONE}::test_what_waits_in_memory_is_not_delivered_once_its_hard_delete_was_seen",
)

_NEWS_ONLY = """
if not {}:
    return Heard(0, reconnected=False)
"""

ANNOUNCING = (
    Mutant(
        name="memory-with-a-hole",
        guarantee="G23",
        breaks="Behind a hole the memory goes on, and says that what is in there does not exist.",
        where=function("RecentEvents._append").comparison("!="),
        change=operator("<"),
        killers=(f"{_MEMORY}::test_what_may_be_in_a_hole_is_not_denied",),
    ),
    Mutant(
        name="not-held-is-not-there",
        guarantee="G23",
        breaks="What the memory does not hold counts as not existing.",
        where=function("RecentEvents.after").condition(mentioning="position"),
        change=constant(False),
        killers=(f"{_MEMORY}::test_a_new_memory_covers_nothing",),
    ),
    Mutant(
        name="page-of-any-bytes",
        guarantee="G22",
        breaks="A page from the memory is as large as its events are.",
        where=function("_bounded").condition(mentioning="number"),
        change=constant(False),
        killers=(f"{_MEMORY}::test_a_page_is_bounded_in_events_and_bytes_but_has_the_first_event",),
    ),
    Mutant(
        name="page-without-a-large-event",
        guarantee="G13",
        breaks="An event larger than a page is never read from the memory, nor those after it.",
        where=function("_bounded").condition(mentioning="number").part(mentioning="number"),
        change=remove,
        killers=(f"{_MEMORY}::test_a_page_is_bounded_in_events_and_bytes_but_has_the_first_event",),
    ),
    Mutant(
        name="memory-without-bound",
        guarantee="G22",
        breaks="The memory keeps every event.",
        where=function("RecentEvents._evict_oldest").condition(0),
        change=constant(True),
        killers=(f"{_MEMORY}::test_the_oldest_events_go_first",),
    ),
    Mutant(
        name="global-positions-in-a-stream",
        guarantee="G10",
        breaks="From the memory, events of a stream have their position in $all.",
        where=function("RecentEvents.after").produced(),
        change=replace("event"),
        killers=(f"{_MEMORY}::test_a_stream_is_read_in_its_own_versions",),
    ),
    Mutant(
        name="contradiction-overlooked",
        guarantee="G31",
        breaks="A position that is given out twice is not noticed.",
        where=function("Publisher._committed").condition(mentioning="_contradicts"),
        change=constant(False),
        killers=(f"{_PUBLISHING}::test_a_position_given_out_twice_is_noticed",),
    ),
    Mutant(
        name="hole-before-our-own",
        guarantee="G23",
        breaks="What another process wrote before us is left to the next look.",
        where=function("Publisher._committed_behind_others").condition().statement(),
        change=then("self._extend(events)"),
        killers=(f"{_PUBLISHING}::test_a_hole_before_our_own_events_is_filled_by_the_listener",),
    ),
    Mutant(
        name="connection-lost-in-silence",
        guarantee="G23",
        breaks="What was announced while the connection was lost is not looked for.",
        where=function("Publisher._start_anew").assignment("_anything_moved"),
        change=remove,
        killers=(f"{_PUBLISHING}::test_after_a_reconnect_nothing_announced_before_is_trusted",),
    ),
    Mutant(
        name="many-events-in-silence",
        guarantee="G23",
        breaks="More news than the memory holds are told to nobody.",
        where=function("Publisher._heard").assignment("_anything_moved"),
        change=remove,
        killers=(f"{_PUBLISHING}::test_more_than_the_memory_holds_is_not_read",),
    ),
    Mutant(
        name="deaf-in-silence",
        guarantee="G23",
        breaks="What the listener should have read is told to nobody when it goes deaf.",
        where=function("Publisher._deaf").assignment("_anything_moved"),
        change=remove,
        killers=(
            f"{_PUBLISHING}::test_what_the_listener_could_not_read_is_looked_for_by_everybody",
        ),
    ),
    Mutant(
        name="streams-in-silence",
        guarantee="G23",
        breaks="Subscriptions to one stream are told nothing.",
        where=function("Publisher._announce").call("tell", mentioning="version"),
        change=remove,
        killers=(f"{_PUBLISHING}::test_only_the_concerned_are_told_each_in_its_own_numbers",),
    ),
    Mutant(
        name="standbys-in-silence",
        guarantee="G27",
        breaks="A standby hears nothing of a clean stop.",
        where=function("Publisher._heard").call("tell", mentioning="Touched"),
        change=remove,
        killers=(f"{_PUBLISHING}::test_a_touched_row_makes_the_keeper_look_and_nobody_else",),
    ),
    Mutant(
        name="deletion-told-to-nobody",
        guarantee="G13",
        breaks="What was deleted is delivered from memory.",
        where=function("Publisher._heard").condition(mentioning="deletion_no"),
        change=constant(False),
        killers=(f"{_PUBLISHING}::test_a_deletion_makes_everybody_forget_what_was_not_sent",),
    ),
    Mutant(
        name="deletion-not-noticed",
        guarantee="G13",
        breaks="The memory of the newest events keeps what was deleted.",
        where=function("Listener._tell_of").condition(0).part(mentioning="deletion_no"),
        change=remove,
        killers=(f"{_PUBLISHING}::test_a_deletion_makes_everybody_forget_what_was_not_sent",),
    ),
    Mutant(
        name="late-watcher",
        guarantee="G23",
        breaks="What was stored while a subscription started is told with the next event only.",
        where=function("Publisher._watch").call("try_tell"),
        change=remove,
        killers=(f"{_PUBLISHING}::test_who_watches_is_told_at_once_how_far_it_is",),
    ),
    Mutant(
        name="fallen-head-overlooked",
        guarantee="G31",
        breaks="A restore in place, under a living connection, is not noticed.",
        where=function("Listener._tell_of").condition(mentioning="is_doubtful"),
        change=constant(False),
        killers=(f"{_LISTENING}::test_a_head_that_falls_is_compared_with_the_history",),
    ),
    Mutant(
        name="fallen-head-not-compared",
        guarantee="G31",
        breaks="A head that fell is taken for an old announcement.",
        where=function("History.is_doubtful").literal(True),
        change=constant(False),
        killers=(f"{_LISTENING}::test_a_head_that_falls_is_compared_with_the_history",),
    ),
    Mutant(
        name="history-that-grew-again",
        guarantee="G31",
        breaks="A database set back is not noticed when its head has come as far again.",
        where=function("History.is_doubtful").returned(mentioning="found"),
        change=constant(False),
        killers=(f"{_LISTENING}::test_another_event_at_the_head_is_compared_with_the_history",),
    ),
    Mutant(
        name="page-of-another-history",
        guarantee="G31",
        breaks="New events are told though the one before them is not the known one.",
        where=function("Listener._read_on").condition(mentioning="page").part(mentioning="Mark"),
        change=remove,
        killers=(f"{_LISTENING}::test_what_does_not_follow_the_newest_known_event_is_not_told",),
    ),
    Mutant(
        name="another-history-after-a-reconnect",
        guarantee="G31",
        breaks="A server that was set back is taken for the same one.",
        where=function("Listener._tell_of_connection").call("check"),
        change=remove,
        killers=(f"{_LISTENING}::test_a_lost_history_is_told_to_the_supervisor_and_nothing_more",),
    ),
    Mutant(
        name="page-after-a-hole",
        guarantee="G15",
        breaks="The listener leaves the first new event out.",
        where=function("Listener._read_on").returned(1).literal(1),
        change=constant(2),
        killers=(f"{_LISTENING}::test_what_is_new_is_told_in_order_and_once",),
    ),
    Mutant(
        name="first-watcher-unheard",
        guarantee="G23",
        breaks="With the first subscription the runtime does not begin to listen.",
        where=function("Publisher._attend").call("attend"),
        change=remove,
        killers=(f"{_PUBLISHING}::test_the_listener_listens_when_the_first_one_watches",),
    ),
    Mutant(
        name="first-watcher-untold",
        guarantee="G23",
        breaks="What is appended is told to nobody, also when there are subscriptions.",
        where=function("Publisher._attend").assignment("watched"),
        change=remove,
        killers=(f"{_PUBLISHING}::test_the_listener_listens_when_the_first_one_watches",),
    ),
    Mutant(
        name="read-for-nobody",
        guarantee="G22",
        breaks="A runtime without subscriptions reads everything that others append.",
        where=function("Listener._tell_of").condition(mentioning="watched"),
        change=constant(True),
        killers=(f"{_LISTENING}::test_while_nobody_watches_it_reads_the_newest_event_alone",),
    ),
    Mutant(
        name="announced-to-nobody",
        guarantee="G22",
        breaks="A runtime without subscriptions is woken by every append.",
        where=function("PostgresHeadListener._attend").condition(mentioning="_prompt"),
        change=constant(True),
        killers=(f"{_ANNOUNCED}::test_who_is_in_no_hurry_is_not_woken_by_what_others_are_told",),
    ),
    Mutant(
        name="announced-to-the-unhurried",
        guarantee="G22",
        breaks="Commits are announced though nobody who listens is in a hurry.",
        where=function("PostgresHeadListener._attend").assigned("names").part(mentioning="_prompt"),
        change=constant(True),
        killers=(f"{_ANNOUNCED}::test_where_nobody_else_listens_events_are_not_announced",),
    ),
    Mutant(
        name="listening-in-secret",
        guarantee="G23",
        breaks="Other processes do not see that somebody listens, and announce nothing.",
        where=function("PostgresHeadListener._attend").condition(mentioning="listening"),
        change=constant(False),
        killers=(f"{_ANNOUNCED}::test_where_nobody_else_listens_events_are_not_announced",),
    ),
    Mutant(
        name="no-announcement",
        guarantee="G23",
        breaks="An append wakes nobody.",
        where=function("Writer._settle").call("note_events"),
        change=remove,
        killers=(f"{_WRITER}::test_commits_are_noted_for_other_processes_and_repetitions_are_not",),
    ),
    Mutant(
        name="repetition-wakes-everybody",
        guarantee="G22",
        breaks="An append that was stored before wakes every process.",
        where=function("Writer._settle")
        .boolean("and", mentioning="isinstance")
        .part(mentioning="repeated"),
        change=remove,
        killers=(f"{_WRITER}::test_commits_are_noted_for_other_processes_and_repetitions_are_not",),
    ),
    Mutant(
        name="announcer-sends-nothing",
        guarantee="G23",
        breaks="What is to be announced is collected and never sent.",
        where=function("Announcer._send").call("announce").keyword("events"),
        change=constant(False),
        killers=(f"{_ANNOUNCER}::test_commits_and_changes_are_sent",),
    ),
    Mutant(
        name="looked-for-at-every-commit",
        guarantee="G22",
        breaks="Where nobody listens, each commit asks the database whether somebody does.",
        where=function("Announcer._send").returned(mentioning="QUIET"),
        change=replace("PAUSE"),
        killers=(f"{_ANNOUNCER}::test_events_wait_where_nobody_listens_and_changes_do_not",),
    ),
    Mutant(
        name="changes-wait-with-the-events",
        guarantee="G27",
        breaks="A release waits until events may be announced again.",
        where=function("Announcements.take").condition(0),
        change=replace("not self._closed"),
        killers=(f"{_ANNOUNCER}::test_events_wait_where_nobody_listens_and_changes_do_not",),
    ),
    Mutant(
        name="announced-to-the-absent",
        guarantee="G22",
        breaks="Each commit is announced, though nobody listens.",
        where=function("PostgresAnnounceSession.announce.send").condition(mentioning="listens"),
        change=constant(False),
        killers=(f"{_ANNOUNCED}::test_where_nobody_else_listens_events_are_not_announced",),
    ),
    Mutant(
        name="never-heard",
        guarantee="G23",
        breaks="Who listens is never found, and hears of nothing.",
        where=function("Audience.listens").returned(),
        change=constant(False),
        killers=(f"{_ANNOUNCED}::test_where_nobody_else_listens_events_are_not_announced",),
    ),
    Mutant(
        name="last-news-unsent",
        guarantee="G27",
        breaks="What is released at the end is announced to nobody.",
        where=function("Announcements.take").condition(3),
        change=replace("self._closed or {}"),
        killers=(f"{_ANNOUNCER}::test_at_its_end_it_sends_what_is_left",),
    ),
    Mutant(
        name="our-own-announcement",
        guarantee="G22",
        breaks="A process is woken by what it announces itself.",
        where=function("PostgresHeadListener._hear").condition().part(mentioning="announcing"),
        change=remove,
        killers=(f"{_ANNOUNCED}::test_nobody_is_woken_by_what_he_announces_himself",),
    ),
    Mutant(
        name="announced-to-oneself",
        guarantee="G22",
        breaks="A process that is alone announces each of its commits to itself.",
        where=function("PostgresHeadListener._attend").assignment("listening"),
        change=remove,
        killers=(f"{_ANNOUNCED}::test_where_nobody_else_listens_events_are_not_announced",),
    ),
    Mutant(
        name="listening-not-taken-up",
        guarantee="G23",
        breaks="Who is in a hurry now hears of appends at its timeouts only.",
        where=function("PostgresHeadListener.wait").condition(mentioning="changed"),
        change=constant(False),
        killers=(
            f"{_NEWS}::test_who_is_in_a_hurry_now_hears_at_once_what_is_there_and_then_of_every_append",
        ),
    ),
    Mutant(
        name="crash-of-the-listener-unseen",
        guarantee="G24",
        breaks="A listener that crashed is never replaced.",
        where=function("Listener.run").call("try_tell"),
        change=remove,
        killers=(f"{_LISTENING}::test_its_crash_is_told",),
    ),
    Mutant(
        name="deaf-and-waiting",
        guarantee="G23",
        breaks="Where no announcement arrives, nobody looks.",
        where=function("PostgresHeadListener.wait").call("_receive").statement(),
        change=replace(_NEWS_ONLY),
        killers=(f"{_FAULTS}::test_a_deaf_listener_looks_at_every_timeout",),
    ),
    Mutant(
        name="forged-announcement-crashes",
        guarantee="G23",
        breaks="Whoever sends something odd on the channel crashes every listener.",
        where=function("_News.take_in").call("fullmatch", mentioning="_SUBSCRIPTIONS"),
        change=calls("match"),
        killers=(f"{_HISTORY}::test_an_announcement_is_a_hint_to_look_and_nothing_else",),
    ),
    Mutant(
        name="deaf-and-unaware",
        guarantee="G23",
        breaks="LISTEN through a pooler counts as working.",
        where=function("PostgresHeadListener._listen").assigned("listening"),
        change=constant(True),
        killers=(f"{_FAULTS}::test_listening_that_does_not_hear_itself_is_no_listening",),
    ),
    Mutant(
        name="news-of-another-store",
        guarantee="G34",
        breaks="Changes of subscriptions in another schema are taken for ours.",
        where=function("PostgresHeadListener._hear").condition().part(mentioning="channel"),
        change=remove,
        killers=(f"{_FAULTS}::test_what_another_store_announces_is_not_heard",),
    ),
    Mutant(
        name="no-listener-beside-a-full-queue",
        guarantee="G23",
        breaks="A full notification queue of the server ends every runtime that begins to listen.",
        where=function("PostgresHeadListener._probe_returns").caught(),
        change=replace("psycopg.errors.LockNotAvailable"),
        killers=(f"{_QUEUE}::test_a_full_notification_queue_refuses_no_append",),
    ),
    Mutant(
        name="deleted-and-queued",
        guarantee="G13",
        breaks="Events that were read and not sent are delivered after their hard delete.",
        where=function("Publisher._heard").call("tell_all"),
        change=remove,
        killers=_NOT_DELIVERED,
    ),
    Mutant(
        name="deleted-and-in-memory",
        guarantee="G13",
        breaks="The memory of the newest events goes on with what was deleted for good.",
        where=function("Listener._tell_of")
        .condition(0)
        .boolean("or")
        .part(mentioning="_deletion_no"),
        change=remove,
        killers=_NOT_DELIVERED,
    ),
    Mutant(
        name="deleted-and-before-a-handler",
        guarantee="G13",
        breaks="What waits for a function is handled after its hard delete.",
        where=function("DeliveryLoop.forget_unsent").call("_take_back"),
        change=remove,
        killers=_NOT_DELIVERED,
    ),
)
