"""Wrong benches end with one sentence before anything is run."""

import pytest

USAGE = {
    "one step": (["steps", "--steps", 1], "--steps must be at least 2, because the first step is not counted, got 1"),
    "one step over a link": (["link", "--steps", 1], "--steps must be at least 2"),
    "one step to scale": (["scaling", "--steps", 1], "--steps must be at least 2"),
    "unknown protocol": (["steps", "--protocol", "homeopathic"], "no protocol 'homeopathic'"),
    "unknown setting": (["engine", "--protocol", "strip-split halo=2"], "strip-split has no setting 'halo'"),
    "no clouds": (["link", "--clouds", "2,0"], "--clouds takes one or more numbers of clouds"),
    "clouds that are no numbers": (["fidelity", "--clouds", "two"], "--clouds takes one or more numbers of clouds"),
    "no link": (["link", "--link", "fast"], "link must be 5g or UP/DOWN/RTT"),
    "a file as folder": (["steps", "--out", __file__], "--out must name a folder"),
    "unknown model": (["engine", "--model", "random:sd99"], "no architecture 'sd99'"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_benches(sfumato, name):
    arguments, sentence = USAGE[name]
    code, out, err = sfumato("bench", *arguments)
    assert (code, out) == (2, "")
    assert err.strip().startswith("Error: ")
    assert len(err.strip().splitlines()) == 1
    assert sentence in err
