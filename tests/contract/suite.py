"""What every connector has to do, whatever the provider: the engine relies on nothing else.

A connector's test module supplies a fixture `world` (see `World`; `SimulatedWorld` does most of it) and

    class TestContract(ConnectorContract): ...

The tests ask the manifest what applies. CRMs whose writes are updates pass the same tests: their `sample_effects` are
updates of records that are there.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol

import pytest
import requests

from tests.contract.fakes import MemoryLease, MemorySecrets
from tieout.domain.connections import Connection
from tieout.domain.documents import RecordUpdate
from tieout.domain.effects import Done, Effect, MatchedBy, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import (
    ConflictError,
    ReconnectError,
    RejectedError,
    SignatureError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Connector, Context, Provider, Reachability, Webhook
from tieout.ports.http import Answer, Http, Request
from tieout.transport import RequestsHttp
from tieout_sandbox.simulators.clock import SimulatedClock

PAGES_MAX = 60
type Wrap = Callable[[Http], Http]


class World(Protocol):
    """A provider that the suite can play with. One is made for each test.

    Attributes:
        write_match: Method and path of the calls that write, as a simulator's faults match them.
    """

    provider: Provider
    clock: SimulatedClock
    secrets: MemorySecrets
    write_match: Mapping[str, str]

    def connector(
        self, *, faults: Iterable[Mapping[str, Any]] = (), wrap: Wrap | None = None, **settings: object
    ) -> Connector:
        """A newly opened connector; `faults` replace those in force, `wrap` stands between it and the wire."""

    def sample_effects(self) -> Sequence[Effect]:
        """Good, independent effects with new ids, at least one of each kind that can be written."""

    def exact_effects(self) -> Sequence[Effect]:
        """Good effects with amounts of 0, negative ones and three decimals, as far as the provider takes them."""

    def refused_effect(self) -> Effect:
        """An effect that the provider refuses for what it says."""

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        """Make records at the provider, all at one time; their kind (always the same) and ids."""

    def delete_record(self, kind: Kind, record_id: str) -> None:
        """Somebody deletes a record at the provider."""

    def revoke(self) -> None:
        """Somebody takes our access away."""

    def webhook(self, *, valid: bool = True) -> Webhook:
        """A webhook about one record; signed with a former secret if not valid."""


class SimulatedWorld:
    """A world on a simulator that is served at `url`; a provider's world adds what only it knows."""

    provider: Provider
    write_match: Mapping[str, str]

    def __init__(self, url: str, clock: SimulatedClock, secrets: Mapping[str, str]) -> None:
        self.url = url
        self.clock = clock
        self.secrets = MemorySecrets(secrets)
        self.lease = MemoryLease()
        self.session = requests.Session()
        self.http: Http = RequestsHttp(lambda _: None, clock=clock, session=self.session)

    def settings(self) -> dict[str, Any]:
        """The connection's settings, with the simulator's addresses in them."""
        raise NotImplementedError

    def account(self) -> str:
        """The provider's id of the account."""
        raise NotImplementedError

    def connector(
        self, *, faults: Iterable[Mapping[str, Any]] = (), wrap: Wrap | None = None, **settings: object
    ) -> Connector:
        """A newly opened connector."""
        self.sandbox("PUT", "faults", {"faults": list(faults)})
        return self.provider.open(self.context(wrap=wrap, **settings))

    def context(self, *, wrap: Wrap | None = None, **settings: object) -> Context:
        """What a connector is opened with."""
        connection = Connection(
            "acme",
            "under-test",
            self.provider.manifest.provider,
            account=self.account(),
            settings={**self.settings(), **settings},
        )
        http = wrap(self.http) if wrap is not None else self.http
        return Context(connection, self.secrets, http, self.clock, self.lease)

    def sandbox(self, method: str, path: str, body: object = None) -> Any:
        """The answer of one of the simulator's own end-points."""
        answer = self.session.request(method, f"{self.url}/_sandbox/{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()


class ConnectorContract:
    """The tests. `world` comes from the connector's own module."""

    # ---- what it says of itself ----

    def test_the_manifest_fits_together(self, world):
        manifest = world.provider.manifest
        connection = Connection("acme", "c", manifest.provider, settings={})

        assert manifest.writes <= manifest.reads
        assert manifest.keeps_reference | manifest.natural_key <= manifest.writes
        assert manifest.deletions_visible <= manifest.reads
        assert manifest.read_batch_max >= 1
        assert manifest.write_batch_max >= 1
        # Some systems let in whoever reaches them; then only an agent beside them does.
        assert manifest.secrets or manifest.reachability is Reachability.ON_PREMISES
        assert manifest.documentation
        if not any(field.is_required() for field in manifest.settings.model_fields.values()):
            assert world.provider.limits_of(connection) == manifest.limits
        assert world.connector().manifest is manifest

    def test_the_probe_names_the_account(self, world):
        account = world.connector().probe()

        assert account.id
        assert account.name

    # ---- reading ----

    def test_ids_end_and_repeat_nothing(self, world):
        kind, made = world.make_records(7)
        connector = world.connector()

        ids = all_ids(connector, kind)

        assert len(ids) == len(set(ids))
        assert set(made) <= set(ids)

    def test_reading_gives_what_is_there_and_leaves_out_the_rest(self, world):
        kind, made = world.make_records(3)
        connector = world.connector()

        records = connector.read(kind, [made[0], made[2], unknown_id(made[0])])

        assert sorted(record.id for record in records) == sorted([made[0], made[2]])
        assert all(record.kind is kind for record in records)
        assert connector.read(kind, []) == []

    def test_the_change_feed_begins_with_the_first_record(self, world):
        kind, made = world.make_records(5)

        records, gone, _ = all_changes(world.connector(), kind, None)

        assert set(made) <= {record.id for record in records}
        assert not gone
        assert all(record.edited_at is None or record.edited_at.utcoffset() is not None for record in records)

    def test_no_change_is_lost_at_equal_times(self, world):
        connector = world.connector()
        kind, _ = world.make_records(1)
        cursor = connector.cursor_now(kind)
        seen = []
        for _ in range(3):  # the clock stands still
            _, made = world.make_records(2)
            records, _, cursor = all_changes(connector, kind, cursor)
            seen += [record.id for record in records]
            assert set(made) <= set(seen)

    def test_a_cursor_from_now_on_leaves_out_what_was_long_before(self, world):
        kind, before = world.make_records(2)
        world.clock.advance(3600)
        connector = world.connector()
        cursor = connector.cursor_now(kind)
        world.clock.advance(3600)
        _, after = world.make_records(2)

        records, _, _ = all_changes(connector, kind, cursor)

        assert {record.id for record in records} == set(after)
        assert not set(before) & set(after)

    def test_a_deleted_record_is_seen_to_be_gone(self, world):
        kind, made = world.make_records(3)
        connector = world.connector()
        cursor = connector.cursor_now(kind)
        world.clock.advance(60)
        world.delete_record(kind, made[1])

        _, gone, _ = all_changes(connector, kind, cursor)

        if kind in world.provider.manifest.deletions_visible:
            assert list(gone) == [made[1]]
        assert set(all_ids(connector, kind)) & set(made) == {made[0], made[2]}
        assert [record.id for record in connector.read(kind, [made[1]])] == []

    def test_unknown_fields_pass(self, world):
        kind, made = world.make_records(2)
        plain = world.connector().read(kind, made)

        strange = world.connector(wrap=AddsFields)

        assert by_id(strange.read(kind, made)) == by_id(plain)
        assert {record.id for record in all_changes(strange, kind, None)[0]} >= set(made)
        for effect in world.sample_effects():
            assert isinstance(only(strange.write([effect])), Done)

    # ---- writing ----

    def test_what_is_written_reads_back_equal(self, world):
        connector = world.connector()
        for effect in world.sample_effects():
            outcome = only(connector.write([effect]))

            assert isinstance(outcome, Done), outcome
            assert_shows(outcome.record, effect)
            (read,) = connector.read(effect.kind, [outcome.record.id])
            assert_shows(read, effect)
            assert read.version == outcome.record.version

    def test_amounts_are_exact(self, world):
        connector = world.connector()
        for effect in world.exact_effects():
            outcome = only(connector.write([effect]))

            assert isinstance(outcome, Done), outcome
            (read,) = connector.read(effect.kind, [outcome.record.id])
            assert_shows(read, effect)
            assert not list(floats(read.fields))

    def test_what_was_written_is_updated_in_place(self, world):
        connector = world.connector()
        for effect in world.sample_effects():
            first = done(connector.write([effect]))

            second = done(connector.write([update_of(effect, first)]))

            assert second.id == first.id
            assert_shows(second, effect)
            if effect.kind in world.provider.manifest.keeps_reference:
                assert second.fields["reference"] == effect.reference

    def test_several_effects_go_in_one_call_of_write(self, world):
        effects = world.sample_effects()[: world.provider.manifest.write_batch_max]

        outcomes = world.connector().write(effects)

        assert sorted(outcome.effect_id for outcome in outcomes) == sorted(effect.id for effect in effects)
        assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes

    def test_one_bad_effect_does_not_stop_the_others(self, world):
        good = list(world.sample_effects())[: max(world.provider.manifest.write_batch_max - 1, 1)]
        bad = world.refused_effect()
        effects = [*good[:1], bad, *good[1:]]
        outcomes: dict[str, Outcome] = {}
        connector = world.connector()
        for start in range(0, len(effects), world.provider.manifest.write_batch_max):
            some = effects[start : start + world.provider.manifest.write_batch_max]
            outcomes |= {outcome.effect_id: outcome for outcome in connector.write(some)}

        refused = outcomes.pop(bad.id)

        assert isinstance(refused, NotDone)
        assert isinstance(refused.error, RejectedError)
        assert refused.error.message
        assert set(outcomes) == {effect.id for effect in good}
        assert all(isinstance(outcome, Done) for outcome in outcomes.values())

    def test_a_stale_version_is_a_conflict(self, world):
        if not world.provider.manifest.versions:
            pytest.skip("the provider has no versions")
        connector = world.connector()
        for effect in world.sample_effects():
            first = done(connector.write([effect]))
            done(connector.write([update_of(effect, first)]))

            stale = only(connector.write([replace(update_of(effect, first), id=effect_id("stale", effect))]))

            assert isinstance(stale, NotDone)
            assert isinstance(stale.error, ConflictError)

    # ---- what gets lost ----

    def test_a_write_whose_answer_was_lost_is_found_and_stands_once(self, world):
        for effect in world.sample_effects():
            connector = world.connector(faults=[{"kind": "lost_answer", "times": 1, "match": world.write_match}])
            outcome = only(connector.write([effect]))

            assert isinstance(outcome, Unknown), outcome
            assert isinstance(outcome.error, UncertainError)
            self._assert_stands_once(world, connector, effect)

    def test_a_write_that_never_arrived_is_unknown_and_not_found(self, world):
        effects = [effect for effect in world.sample_effects() if effect.operation is Operation.CREATE]
        connector = world.connector(faults=[{"kind": "reset", "match": world.write_match}])
        for effect in effects:
            assert isinstance(only(connector.write([effect])), Unknown)
            assert effect.id not in connector.find([effect])

    def test_a_write_during_an_outage_is_unknown(self, world):
        connector = world.connector(faults=[{"kind": "status", "status": 503, "match": world.write_match}])
        for effect in world.sample_effects():
            assert isinstance(only(connector.write([effect])), Unknown)

    def test_what_another_effect_wrote_is_not_found_as_ours(self, world):
        connector = world.connector()
        for effect in world.sample_effects():
            if effect.operation is not Operation.CREATE or effect.kind in world.provider.manifest.natural_key:
                continue
            done(connector.write([effect]))
            other = replace(effect, id=effect_id("other", effect), reference="zzzzzzzzzzzz")

            assert other.id not in connector.find([other])

    # ---- errors ----

    def test_an_outage_is_unavailable(self, world):
        kind, made = world.make_records(1)
        connector = world.connector(faults=[{"kind": "status", "status": 503}])

        for call in (connector.probe, lambda: connector.read(kind, made), lambda: connector.ids(kind, None)):
            with pytest.raises(UnavailableError) as caught:
                call()
            assert not isinstance(caught.value, ThrottledError)

    def test_throttling_is_not_done(self, world):
        kind, made = world.make_records(1)
        connector = world.connector(faults=[{"kind": "status", "status": 429}])

        with pytest.raises(ThrottledError):
            connector.read(kind, made)
        for effect in world.sample_effects():
            outcome = only(connector.write([effect]))
            assert isinstance(outcome, NotDone)
            assert isinstance(outcome.error, ThrottledError)

    def test_a_read_whose_answers_get_lost_is_unavailable(self, world):
        kind, made = world.make_records(1)
        connector = world.connector(faults=[{"kind": "lost_answer"}])

        with pytest.raises(UnavailableError):
            connector.read(kind, made)

    @pytest.mark.parametrize("error", [UnavailableError("no route"), ThrottledError("our own budget")])
    def test_what_was_not_sent_is_not_done(self, world, error):
        effects = world.sample_effects()[: world.provider.manifest.write_batch_max]
        outcomes = world.connector(wrap=lambda _: SendsNothing(error)).write(effects)

        assert {outcome.effect_id for outcome in outcomes} == {effect.id for effect in effects}
        for outcome in outcomes:
            assert isinstance(outcome, NotDone)
            assert isinstance(outcome.error, type(error))

    def test_revoked_access_asks_to_reconnect(self, world):
        kind, made = world.make_records(1)
        effect = world.sample_effects()[0]
        world.revoke()
        connector = world.connector()

        with pytest.raises(ReconnectError) as caught:
            connector.read(kind, made)
        outcome = only(connector.write([effect]))

        assert caught.value.next_step
        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, ReconnectError)

    def test_an_answer_that_is_no_answer_is_unavailable_or_unknown(self, world):
        kind, made = world.make_records(1)
        effect = world.sample_effects()[0]
        connector = world.connector()
        connector.probe()  # signs in

        with pytest.raises(UnavailableError):
            world.connector(wrap=lambda http: AnswersNonsense(http, to_writes=False)).read(kind, made)
        nonsense = world.connector(wrap=lambda http: AnswersNonsense(http, to_writes=True))
        assert isinstance(only(nonsense.write([effect])), Unknown)

    # ---- webhooks and secrets ----

    def test_a_webhook_is_taken_only_with_its_own_signature(self, world):
        if not world.provider.manifest.webhooks:
            pytest.skip("the provider has no webhooks")
        secrets = world.secrets.read("", "")
        good, former = world.webhook(), world.webhook(valid=False)

        world.provider.verify(good, secrets)
        assert [hint.account for hint in world.provider.hints(good)]

        missing = replace(good, headers={})
        altered = replace(good, body=good.body + b" ")
        for bad in (former, missing, altered):
            with pytest.raises(SignatureError):
                world.provider.verify(bad, secrets)
        with pytest.raises(SignatureError):
            world.provider.verify(good, {})

    @pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"a": 1}', b"\xff", b"[" * 100_000])
    def test_a_webhook_of_another_form_is_no_webhook(self, world, body):
        if not world.provider.manifest.webhooks:
            pytest.skip("the provider has no webhooks")

        with pytest.raises(ValueError, match="webhook"):
            world.provider.hints(replace(world.webhook(), body=body))

    def test_no_secret_shows_in_logs_errors_or_repr(self, world, caplog):
        caplog.set_level(logging.DEBUG)
        kind, made = world.make_records(1)
        effects = world.sample_effects()
        shown = []
        connector = world.connector()
        shown += [repr(connector), repr(connector.probe()), repr(connector.read(kind, made))]
        shown += [repr(connector.write([effect])) for effect in effects]
        for fault in ({"kind": "status", "status": 500}, {"kind": "lost_answer"}, {"kind": "status", "status": 401}):
            failing = world.connector(faults=[fault])
            with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is other tests' matter
                failing.probe()
            shown += [repr(caught.value), str(vars(caught.value)), repr(failing.write(effects[:1]))]
        if world.provider.manifest.webhooks:
            shown.append(repr(world.webhook()))

        text = caplog.text + "".join(shown)
        for bundle in world.secrets.history:
            for name, value in bundle.items():
                assert not is_secret(name) or not value or value not in text, name

    def _assert_stands_once(self, world: World, connector: Connector, effect: Effect) -> None:
        manifest = world.provider.manifest
        if effect.operation is Operation.UPDATE:
            (record,) = connector.read(effect.kind, [effect.target_id or ""])
            assert_shows(record, effect)
            return
        (match,) = connector.find([effect])[effect.id]
        if match.unfinished:
            completed = done(connector.write([effect]))
            assert completed.id == match.record.id
            (match,) = connector.find([effect])[effect.id]
            assert not match.unfinished
        kept = effect.kind in manifest.keeps_reference
        assert match.by is (MatchedBy.REFERENCE if kept else MatchedBy.NATURAL_KEY)
        assert_shows(match.record, effect)
        if kept:
            everything, _, _ = all_changes(connector, effect.kind, None)
            assert [record.id for record in everything if record.fields.get("reference") == effect.reference] == [
                match.record.id
            ]


# ---- what the tests are told with ----


def all_ids(connector: Connector, kind: Kind) -> list[str]:
    """Every id, page by page; fails if the pages do not end."""
    ids: list[str] = []
    after: str | None = None
    for _ in range(PAGES_MAX):
        page, after = connector.ids(kind, after)
        ids += page
        if after is None:
            return ids
    raise AssertionError(f"still more ids after {PAGES_MAX} pages")


def all_changes(connector: Connector, kind: Kind, cursor: str | None) -> tuple[list[Record], list[str], str]:
    """Changes until there are no more now, ids that are gone, and the last cursor; fails if the pages do not end."""
    records: list[Record] = []
    gone: list[str] = []
    for _ in range(PAGES_MAX):
        page = connector.changes(kind, cursor)
        records += page.records
        gone += page.gone
        cursor = page.cursor
        if not page.more:
            return records, gone, cursor
    raise AssertionError(f"still more changes after {PAGES_MAX} pages")


def only(outcomes: Sequence[Outcome]) -> Outcome:
    """The one outcome."""
    (outcome,) = outcomes
    return outcome


def done(outcomes: Sequence[Outcome]) -> Record:
    """The record of the one outcome."""
    outcome = only(outcomes)
    assert isinstance(outcome, Done), outcome
    return outcome.record


def update_of(effect: Effect, record: Record) -> Effect:
    """The same document, written to the record that is there."""
    return replace(
        effect,
        id=effect_id("update", effect),
        operation=Operation.UPDATE,
        target_id=record.id,
        target_version=record.version,
    )


def effect_id(word: str, effect: Effect) -> str:
    """Another effect id of the right form."""
    return f"{word.encode().hex()}{effect.id}"[:32]


def by_id(records: Iterable[Record]) -> dict[str, Record]:
    """The records by their id."""
    return {record.id: record for record in records}


def unknown_id(known: str) -> str:
    """An id of the same form that belongs to nothing; a number is long, as short ones may be in use."""
    if known.isdigit():
        return "9" * max(len(known), 9)
    return "".join("9" if character.isalnum() else character for character in known)


def is_secret(name: str) -> bool:
    """False for what stands among the secrets but is none: names of persons, moments."""
    return not name.endswith("_at") and name not in {"client_id", "user", "username"}


def assert_shows(record: Record, effect: Effect) -> None:
    """Fail unless the record has every field that the effect's document gives."""
    for path, wanted in effect.document.as_fields().items():
        found: Any = record.fields
        for part in path.split(".") if isinstance(effect.document, RecordUpdate) else [path]:
            found = found[part]
        assert shows(found, wanted), f"{effect.kind.value}.{path}: {found!r} instead of {wanted!r}"


def shows(found: Any, wanted: Any) -> bool:
    """True if everything wanted is there, however deep; more may be there too."""
    if isinstance(wanted, Mapping):
        if all(value is None for value in wanted.values()) and found is None:
            return True
        return isinstance(found, Mapping) and all(shows(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(wanted)
            and all(shows(*pair) for pair in zip(found, wanted, strict=True))
        )
    if isinstance(wanted, Enum):
        return bool(found == wanted.value)
    return bool(found == wanted and (type(found) is type(wanted) or isinstance(wanted, int | Decimal)))


def floats(value: Any) -> Iterable[float]:
    """Every float in it, however deep: there must be none."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from floats(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from floats(each)


class AddsFields:
    """A provider of tomorrow: every object in its answers has more fields than we know."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def send(self, request: Request) -> Answer:
        answer = self._http.send(request)
        try:
            content = json.loads(answer.body, parse_float=lambda digits: f"<{digits}>")
        except ValueError:
            return answer
        text = re.sub(r'"<(-?[0-9.eE+-]+)>"', r"\1", json.dumps(self._with_more(content)))
        return replace(answer, body=text.encode())

    def _with_more(self, content: Any) -> Any:
        if isinstance(content, dict):
            return {name: self._with_more(value) for name, value in content.items()} | {"newField": {"since": 2031}}
        if isinstance(content, list):
            return [self._with_more(value) for value in content]
        return content


class AnswersNonsense:
    """A proxy on the way that answers with a page of its own, to writes or to reads."""

    def __init__(self, http: Http, *, to_writes: bool) -> None:
        self._http = http
        self._to_writes = to_writes

    def send(self, request: Request) -> Answer:
        answer = self._http.send(request)
        if request.write is not self._to_writes:
            return answer
        return replace(answer, status=200, body=b"<html>please log in</html>")


class SendsNothing:
    """A door that is closed."""

    def __init__(self, error: UnavailableError) -> None:
        self._error = error

    def send(self, request: Request) -> Answer:
        raise self._error
