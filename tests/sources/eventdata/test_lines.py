"""Events as lines of JSON."""

import json

from hypothesis import given
from hypothesis import strategies as st

from etwdetect.sources.eventdata.lines import to_line
from etwdetect.sources.eventdata.schema import KINDS, Recording, to_row
from tests.sources.eventdata.test_schema import TEXT, any_event


@given(st.sampled_from(list(KINDS.values())).flatmap(any_event), TEXT, TEXT, st.integers(0, 2**62))
def test_a_line_is_the_json_of_its_row(event, host, name, seq):
    recording = Recording(host, name)
    assert (
        to_line(recording, seq, event) == json.dumps(to_row(recording, seq, event), separators=(",", ":")) + "\n"
    )
