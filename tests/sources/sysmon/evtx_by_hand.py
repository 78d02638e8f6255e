"""Writes events as .evtx, so that tests of reading them need no real recording.

Windows' own files differ in what no reader here looks at: checksums, tables of names, and a second template inside
the first one for the data. Layout: https://github.com/libyal/libevtx/blob/main/documentation.
"""

import struct

from tests.sources.sysmon.events import CHANNEL, PROVIDER

HEADER_SIZE, CHUNK_SIZE, FIRST_RECORD = 4096, 65_536, 512
_UINT16, _TEXT = 6, 1


class Template:
    """The template of an event whose data has *names*; it begins at *place* in its chunk."""

    def __init__(self, place, names, event_id=b"\x0e\x03\0\x06"):
        self.place, self.data = place, bytearray(b"\x0f\x01\x01\0")
        self._begin = place + 24
        with_names = enumerate(names, 5)
        data = [("Data", {"Name": name}, _value(number)) for number, name in with_names]
        provider = ("Provider", {"Name": PROVIDER["Name"]}, b"")
        system = [
            provider,
            ("EventID", {}, event_id),
            ("Channel", {}, _text(CHANNEL)),
            ("Computer", {}, _value(4)),
        ]
        self._element("Event", {}, [("System", {}, system), ("EventData", {}, data)])
        self.data.append(0)

    def definition(self):
        return struct.pack("<I16sI", 0, b"a template's GUID", len(self.data)) + self.data

    def _element(self, name, attributes, content):
        self.data += struct.pack("<BH", 0x41 if attributes else 0x01, 0xFFFF)
        size = self._sized()
        self._name(name)
        if attributes:
            attributes_size = self._sized()
            for each, value in attributes.items():
                self.data.append(0x06)
                self._name(each)
                self.data += _text(value)
            attributes_size()
        self.data.append(0x02)
        if isinstance(content, bytes):
            self.data += content
        else:
            for each in content:
                self._element(*each)
        self.data.append(0x04)
        size()

    def _sized(self):
        """Leave room for a size; what is returned writes it, as of then."""
        at = len(self.data)
        self.data += bytes(4)
        return lambda: struct.pack_into("<I", self.data, at, len(self.data) - at - 4)

    def _name(self, name):
        self.data += struct.pack("<I", self._begin + len(self.data) + 4)
        self.data += struct.pack("<IHH", 0, 0, len(name)) + name.encode("utf-16-le") + bytes(2)


def _text(text):
    return struct.pack("<BBH", 0x05, _TEXT, len(text)) + text.encode("utf-16-le")


def _value(number):
    return struct.pack("<BHB", 0x0D, number, _TEXT)


def evtx(events, **options):
    """Return a file with *events*, each an id and its data by name, in as many chunks as it takes."""
    chunks, chunk = [], _Chunk(**options)
    for number, (event_id, data) in enumerate(events, 1):
        if not chunk.add(number, event_id, data):
            chunks.append(chunk)
            chunk = _Chunk(**options)
            assert chunk.add(number, event_id, data)
    chunks.append(chunk)
    header = struct.pack("<8sQQQIHHHH", b"ElfFile\0", 0, len(chunks) - 1, 1, 128, 1, 3, HEADER_SIZE, len(chunks))
    return header.ljust(HEADER_SIZE, b"\0") + b"".join(each.bytes() for each in chunks)


class _Chunk:
    def __init__(self, host="WS5", **options):
        self._host = host
        self._options = options
        self._records = []
        self._end = self._last = FIRST_RECORD
        self._templates = {}

    def add(self, number, event_id, data):
        """Add a record, if there is room for it; return whether there was."""
        names, place = tuple(data), self._end + 38
        known = self._templates.get(names)
        template = known or Template(place, names, **self._options)
        values = [
            (4, b"\4"),
            (4, b"\0"),
            (_UINT16, struct.pack("<H", event_id)),
            (_UINT16, struct.pack("<H", event_id)),
        ]
        values += [(_TEXT, text.encode("utf-16-le")) for text in (self._host, *map(str, data.values()))]
        body = struct.pack("<4sBBII", b"\x0f\x01\x01\0", 0x0C, 1, 7, template.place)
        body += b"" if known else template.definition()
        body += struct.pack("<I", len(values))
        body += b"".join(struct.pack("<HBB", len(value), kind, 0) for kind, value in values)
        body += b"".join(value for _, value in values) + b"\0"
        body += bytes(-(24 + len(body) + 4) % 8)  # records begin at multiples of 8
        size = 24 + len(body) + 4
        if self._end + size > CHUNK_SIZE:
            return False
        self._templates[names] = template
        header = struct.pack("<4sIQQ", b"**\0\0", size, number, 132_337_152_000_000_000)
        self._records.append(header + body + struct.pack("<I", size))
        self._last, self._end = self._end, self._end + size
        return True

    def bytes(self):
        count = len(self._records)
        header = struct.pack("<8sQQQQIII", b"ElfChnk\0", 1, count, 1, count, 128, self._last, self._end)
        return (header.ljust(FIRST_RECORD, b"\0") + b"".join(self._records)).ljust(CHUNK_SIZE, b"\0")
