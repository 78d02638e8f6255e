"""The shapes in which collectors hand Windows events on, brought into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core.sysmon import OWN_PROVIDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROVIDER: Final = "microsoft-windows-sysmon"
_PROVIDER_ID: Final = "5770385f-c22a-43e0-bf4c-06f5698ffbd9"

_WRAPPERS: Final = (
    *("hits", "_source", "fields"),  # Elasticsearch
    *("results", "result"),  # Splunk
    *("document", "documents", "data"),  # chainsaw hunt
    *("Events", "Event"),  # converters from XML
)
"""In what there are events, or lists of them. Of two in one object the first has them."""

_FLAT_IDS: Final = ("EventID", "EventId", "event_id")
_FLAT_SOURCES: Final = ("Channel", "SourceName", "ProviderName", "Provider_Name", "ProviderGuid", "source_name")
_FLAT_HOSTS: Final = ("Computer", "Hostname", "computer_name", "MachineName", "host")
_OF_A_REMOTE_THREAD: Final = frozenset(("SourceProcessId", "TargetProcessId", "NewThreadId"))

_REMOTE_THREAD: Final = 8

_MOVED: Final = {
    "UtcTime": "@timestamp",
    "RuleName": "rule.name",
    "ProcessGuid": "process.entity_id",
    "ProcessId": "process.pid",
    "Image": "process.executable",
    "SourceProcessGuid": "process.entity_id",
    "SourceProcessId": "process.pid",
    "SourceImage": "process.executable",
    "CommandLine": "process.command_line",
    "ParentProcessGuid": "process.parent.entity_id",
    "ParentProcessId": "process.parent.pid",
    "ParentImage": "process.parent.executable",
    "ParentCommandLine": "process.parent.command_line",
    "ImageLoaded": "file.path",
    "ID": "error.code",
}
"""Where Elastic's pipelines for Sysmon, Winlogbeat's and the integration's, move what an event has: of the process
that acts, either the names with Source or those without. They split User in two, too.
"""


class WindowsEvent(NamedTuple):
    """An event's id, what says which provider it is from, its computer and its data by name."""

    event_id: object
    provider: tuple[object, ...]
    host: object
    data: Mapping[str, Any]

    @property
    def is_of_sysmon(self) -> bool:
        """Whether Sysmon logged it."""
        return any(_names_sysmon(each) for each in self.provider)

    @property
    def is_of_etwdetect(self) -> bool:
        """Whether etwdetect wrote it in Sysmon's form, whatever its channel."""
        return OWN_PROVIDER in self.provider


def _names_sysmon(value: object) -> bool:
    if not isinstance(value, str):
        return False
    text = value.strip("{}").lower()
    return text.startswith(PROVIDER) or text == _PROVIDER_ID


def events_in(document: object) -> Iterator[WindowsEvent]:
    """Yield the events in *document*, a value of JSON, whatever their shape and whatever is around them."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += reversed(value)
        elif (event := event_in(value)) is not None:
            yield event
        elif isinstance(value, dict):
            pending += [value[name] for name in _WRAPPERS if isinstance(value.get(name), dict | list)][:1]


def event_in(document: object) -> WindowsEvent | None:
    """Return the event that *document* is, whatever its shape; None where it is none."""
    if not isinstance(document, dict):
        return None
    event = _mapping(document.get("Event")) or document
    if _mapping(event.get("System")):
        return _of_reader(event)
    if winlog := _mapping(document.get("winlog")):
        return _of_winlogbeat(document, winlog)
    if "winlog.event_id" in document:
        return _of_winlogbeat(document, _nested(document, "winlog."))
    return _flat(document)


def _of_reader(event: Mapping[str, Any]) -> WindowsEvent:
    """As readers of .evtx have it: attributes are in ``#attributes``, ``NAME_attributes``, or begin with ``@``."""
    system = _mapping(event.get("System"))
    data = _mapping(event.get("EventData"))
    if isinstance(data.get("Data"), list):
        data = dict(_pairs(data["Data"]))
    channel = system.get("Channel")
    if _names_sysmon(channel):
        sources = channel, _mapping(system.get("Provider_attributes")).get("Name")
        return WindowsEvent(_text_of(system.get("EventID")), sources, _text_of(system.get("Computer")), data)
    provider = _mapping(system.get("Provider"))
    attributes = (provider, _mapping(provider.get("#attributes")), _mapping(system.get("Provider_attributes")))
    names = [each.get(name) for each in attributes for name in ("Name", "@Name", "Guid", "@Guid")]
    named = (*names, system.get("Provider"))
    return WindowsEvent(_text_of(system.get("EventID")), named, _text_of(system.get("Computer")), data)


def _pairs(items: list[Any]) -> Iterator[tuple[str, Any]]:
    for item in map(_mapping, items):
        attributes = _mapping(item.get("#attributes"))
        name = item.get("@Name") or item.get("Name") or attributes.get("Name")
        if isinstance(name, str):
            yield name, item.get("#text", item.get("Value"))


def _of_winlogbeat(document: Mapping[str, Any], winlog: Mapping[str, Any]) -> WindowsEvent:
    provider = winlog.get("provider_name"), winlog.get("channel"), winlog.get("provider_guid")
    data = _mapping(winlog.get("event_data"))
    event = WindowsEvent(winlog.get("event_id"), provider, winlog.get("computer_name"), data)
    return event._replace(data={**_moved(document), **data}) if event.is_of_sysmon else event


def _moved(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return by Sysmon's names what a pipeline moved out of the data of *document*."""
    data = {name: value for name, path in _MOVED.items() if (value := _field(document, path)) is not None}
    domain, user = _field(document, "user.domain"), _field(document, "user.name")
    if isinstance(domain, str) and isinstance(user, str):
        data["User"] = f"{domain}\\{user}"
    return data


def _field(document: Mapping[str, Any], path: str) -> object:
    """Return what is at *path*, whether objects are in each other there or dots in the name; None for nothing."""
    if path in document:
        return _only(document[path])
    value: object = document
    for name in path.split("."):
        value = _mapping(value).get(name)
    return value


def _nested(document: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the fields of *document* whose names begin with *prefix*, with those of event_data in one object."""
    inner: dict[str, Any] = {"event_data": {}}
    for name, value in document.items():
        if name.startswith(prefix):
            last = name[len(prefix) :]
            if last.startswith("event_data."):
                inner["event_data"][last[len("event_data.") :]] = _only(value)
            elif last != "event_data":
                inner[last] = _only(value)
    return inner


def _flat(document: Mapping[str, Any]) -> WindowsEvent | None:
    event_id = next((document[name] for name in _FLAT_IDS if name in document), None)
    host = next((document[name] for name in _FLAT_HOSTS if isinstance(document.get(name), str)), None)
    if event_id is None:  # as `--format sysmon` has it
        is_thread = document.keys() >= _OF_A_REMOTE_THREAD and "SchemaVersion" not in document
        return WindowsEvent(_REMOTE_THREAD, (PROVIDER,), host, document) if is_thread else None
    sources = tuple(document[name] for name in _FLAT_SOURCES if name in document)
    # Winlogbeat 6 has no "winlog" around its fields, but all others have their data beside the id.
    return WindowsEvent(_text_of(event_id), sources, host, _mapping(document.get("event_data")) or document)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _only(value: object) -> object:
    """Return *value*, or what is alone in a list, as Elasticsearch has it in its fields."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _text_of(value: object) -> object:
    """Return *value*, or what is in an element that has attributes."""
    return value.get("#text") if isinstance(value, dict) else value
