"""Events of Sysmon to write down in every shape that collectors have."""

import json
import os

MUTATIONS = int(os.environ.get("ETWDETECT_MUTATIONS", "100"))
"""How many mutations of each kind of file are tried."""

PROVIDER = {"Name": "Microsoft-Windows-Sysmon", "Guid": "{5770385F-C22A-43E0-BF4C-06F5698FFBD9}"}
CHANNEL = "Microsoft-Windows-Sysmon/Operational"

THREAD = {
    "RuleName": "technique_id=T1055",
    "UtcTime": "2020-10-22 01:40:56.458",
    "SourceProcessGuid": "{39e4a257-e328-5f90-d310-000000000700}",
    "SourceProcessId": "3224",
    "SourceImage": "C:\\Windows\\System32\\mavinject.exe",
    "TargetProcessGuid": "{39e4a257-e321-5f90-d210-000000000700}",
    "TargetProcessId": "3440",
    "TargetImage": "C:\\Windows\\System32\\notepad.exe",
    "NewThreadId": "10204",
    "StartAddress": "0x00007FFB9285E540",
    "StartModule": "C:\\Windows\\System32\\KERNEL32.DLL",
    "StartFunction": "LoadLibraryW",
    "SourceUser": "LAB\\mäx",
    "TargetUser": "LAB\\<b>",
}
START = {
    "UtcTime": "2020-10-22 01:40:56.444",
    "ProcessGuid": "{39e4a257-e328-5f90-d310-000000000700}",
    "ProcessId": "3224",
    "Image": "C:\\Windows\\System32\\mavinject.exe",
    "CommandLine": "mavinject 3440 /INJECTRUNNING evil.dll",
    "User": "LAB\\mäx",
    "TerminalSessionId": "2",
    "ParentProcessGuid": "{39e4a257-e000-5f90-d310-000000000700}",
    "ParentProcessId": "3904",
    "ParentImage": "C:\\Windows\\explorer.exe",
    "ParentCommandLine": "explorer",
}
ACCESS = {
    "UtcTime": "2020-10-22 01:40:56.400",
    "SourceProcessGUID": "{39e4a257-e328-5f90-d310-000000000700}",
    "SourceProcessId": "3224",
    "SourceThreadId": "4711",
    "SourceImage": "C:\\Windows\\System32\\mavinject.exe",
    "TargetProcessGUID": "{39e4a257-e321-5f90-d210-000000000700}",
    "TargetProcessId": "3440",
    "TargetImage": "C:\\Windows\\System32\\notepad.exe",
    "GrantedAccess": "0x1438",
    "CallTrace": "C:\\Windows\\SYSTEM32\\ntdll.dll+9c584",
}


def reader(event_id, data, host="WS5"):
    """As readers of .evtx have it."""
    system = {"Provider": {"#attributes": PROVIDER}, "EventID": event_id, "Channel": CHANNEL, "Computer": host}
    numbers = {name: int(value) for name, value in data.items() if isinstance(value, str) and value.isdecimal()}
    return {"Event": {"System": system, "EventData": {**data, **numbers}}}


def attributes_apart(event_id, data, host="WS5"):
    """As the same readers have it with other options, and chainsaw."""
    system = {"Provider_attributes": PROVIDER, "EventID": {"#text": str(event_id)}, "Computer": host}
    return {"Event": {"System": system, "EventData": data}}


def listed(event_id, data, host="WS5"):
    """As converters from XML have it."""
    system = {"Provider": {"@Name": PROVIDER["Name"]}, "EventID": str(event_id), "Computer": host}
    pairs = [{"@Name": name, "#text": value} for name, value in data.items()]
    return {"Event": {"System": system, "EventData": {"Data": pairs}}}


def flat(event_id, data, host="WS5"):
    """As NXLog has it, and the data sets of OTRF."""
    empty = {name: value or None for name, value in data.items()}
    return {"EventID": event_id, "SourceName": PROVIDER["Name"], "Channel": CHANNEL, "Hostname": host, **empty}


def winlogbeat(event_id, data, host="WS5"):
    """As Winlogbeat has it."""
    inner = {
        "event_id": str(event_id),
        "provider_name": PROVIDER["Name"],
        "computer_name": host,
        "event_data": data,
    }
    return {"@timestamp": "2020-10-22T01:40:57.000Z", "winlog": inner}


def piped(event_id, data, host="WS5"):
    """As Elastic's pipelines for Sysmon leave what Winlogbeat had."""
    kept = dict(data)
    process = {"parent": {}}
    moves = {
        "ProcessGuid": "entity_id",
        "ProcessGUID": "entity_id",
        "ProcessId": "pid",
        "Image": "executable",
        "CommandLine": "command_line",
    }
    for name, field in moves.items():
        for side, fields in (("Source", process), ("", process), ("Parent", process["parent"])):
            if side + name in kept:
                value = kept.pop(side + name)
                fields[field] = int(value) if field == "pid" else value
    document = winlogbeat(event_id, kept, host)
    document["@timestamp"] = kept.pop("UtcTime").replace(" ", "T") + "Z"
    document["process"] = process
    if "TargetProcessGuid" in kept:
        kept["TargetProcessGUID"] = kept.pop("TargetProcessGuid")
    if "RuleName" in kept:
        document["rule"] = {"name": kept.pop("RuleName")}
    if "User" in kept:
        document["user"] = dict(zip(("domain", "name"), kept.pop("User").split("\\"), strict=True))
    return document


def winlogbeat_6(event_id, data, host="WS5"):
    """As Winlogbeat had it before version 7."""
    return {
        "source_name": PROVIDER["Name"],
        "log_name": CHANNEL,
        "event_id": event_id,
        "computer_name": host,
        "host": {"name": host},
        "event_data": data,
    }


def exported(event_id, data, host="WS5"):
    """As Elasticsearch exports it."""
    return {"_index": "w", "_source": winlogbeat(event_id, data, host)}


def dotted(event_id, data, host="WS5"):
    """As exports in columns have it."""
    names = {f"winlog.event_data.{name}": value for name, value in data.items()}
    return {"winlog.event_id": event_id, "winlog.channel": CHANNEL, "winlog.computer_name": host, **names}


def fields(event_id, data, host="WS5"):
    """As Elasticsearch answers with fields: each is a list."""
    return {"_index": "w", "fields": {name: [value] for name, value in dotted(event_id, data, host).items()}}


def hits(event_id, data, host="WS5"):
    """As Elasticsearch answers a search."""
    return {"took": 1, "hits": {"total": {"value": 1}, "hits": [exported(event_id, data, host)]}}


def hunt(event_id, data, host="WS5"):
    """As `chainsaw hunt` has what a rule found."""
    document = {"kind": "evtx", "path": "a.evtx", "data": reader(event_id, data, host)}
    return {"group": "Sigma", "kind": "individual", "document": document, "name": "a rule"}


def converted(event_id, data, host="WS5"):
    """As converters have a whole file of XML."""
    return {"Events": {"Event": [listed(event_id, data, host)["Event"]]}}


SHAPES = (
    reader,
    attributes_apart,
    listed,
    flat,
    winlogbeat,
    piped,
    winlogbeat_6,
    exported,
    dotted,
    fields,
    hits,
    hunt,
    converted,
)


def xml(event_id, data, host="WS5"):
    """As Windows shows an event."""
    escaped = {name: value.replace("&", "&amp;").replace("<", "&lt;") for name, value in data.items()}
    fields = "".join(f"<Data Name='{name}'>{value}</Data>" for name, value in escaped.items())
    return (
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>"
        f"<Provider Name='{PROVIDER['Name']}' Guid='{PROVIDER['Guid']}'/><EventID>{event_id}</EventID>"
        f"<Channel>{CHANNEL}</Channel><Computer>{host}</Computer></System><EventData>{fields}</EventData></Event>"
    )


def lines(*documents):
    return "".join(json.dumps(each) + "\n" for each in documents).encode()


def many(documents, form):
    """The documents in a file: as lines, as one array, or over several lines each; as evtx_dump numbers them."""
    match form:
        case "lines":
            return lines(*documents)
        case "array":
            return json.dumps(documents).encode()
        case "indented array":
            return json.dumps(documents, indent=2).encode("utf-16")
        case "indented":
            return "\n".join(json.dumps(each, indent=2) for each in documents).encode("utf-8-sig")
        case "numbered":
            return numbered([json.dumps(each, indent=2) for each in documents])


def numbered(texts):
    """As evtx_dump writes events."""
    return "".join(f"Record {number}\n{each}\n" for number, each in enumerate(texts, 1)).encode()


FORMS = ("lines", "array", "indented array", "indented", "numbered")
