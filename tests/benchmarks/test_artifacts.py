import pytest

from benchmarks import artifacts
from benchmarks.artifacts import Bundles, export_bundles, make_for_peer, tuned_bundle
from benchmarks.peers.environments import Peer
from vitrify.bench.process import BackendError


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(artifacts, "_sources_digest", lambda: "these")
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def exports(monkeypatch, refuses):
    """Let an export refuse what is said, and return the list of the profiles of every one."""
    tried = []

    def export(_checkpoint, out, profiles):
        tried.append(list(profiles))
        for profile, error in refuses.items():
            if profile in profiles:
                return {"error": error}
        out.mkdir()
        return {"seconds": {"tracing": 1.0}}

    monkeypatch.setattr(artifacts, "_export", export)
    return tried


def test_profiles_that_are_refused_by_name_leave_the_others(checkpoint, monkeypatch):
    why = "profile 'cpu-w4' is for decoders: use cpu-fp32"
    tried = exports(monkeypatch, {"cpu-w4": why})
    bundles = export_bundles("bert", checkpoint, ("cpu-fp32", "cpu-w4"))
    assert tried == [["cpu-fp32", "cpu-w4"], ["cpu-fp32"]]
    assert bundles.refused == {"cpu-w4": why}
    assert bundles.folder("cpu-fp32").is_dir()
    with pytest.raises(BackendError, match="does not export: profile 'cpu-w4' is for decoders"):
        bundles.folder("cpu-w4")


def test_profiles_that_no_error_names_are_tried_alone(checkpoint, monkeypatch):
    exports(monkeypatch, {"cpu-w4": "quantized weights: agreement 0.1"})
    bundles = export_bundles("bert", checkpoint, ("cpu-fp32", "cpu-w4"))
    assert bundles.refused == {"cpu-w4": "quantized weights: agreement 0.1"}
    assert bundles.folder("cpu-fp32").is_dir()


def test_the_same_sources_export_once_and_older_ones_go(checkpoint, monkeypatch):
    tried = exports(monkeypatch, {})
    first = export_bundles("bert", checkpoint, ("cpu-fp32",))
    assert export_bundles("bert", checkpoint, ("cpu-fp32",)) == first
    assert len(tried) == 1
    monkeypatch.setattr(artifacts, "_sources_digest", lambda: "others")
    export_bundles("bert", checkpoint, ("cpu-fp32",))
    assert len(tried) == 2
    assert not first_folder(first).exists()


def first_folder(bundles):
    return artifacts.Path(bundles.folders["cpu-fp32"])


def test_what_a_peer_s_own_tool_makes_or_why_it_does_not(checkpoint):
    make = "import sys, pathlib; pathlib.Path(sys.argv[1]).mkdir()"
    peer = Peer(
        "some", "module", made={"good": ["-c", make, "{out}"], "bad": ["-c", "raise SystemExit('no \\n luck')"]}
    )
    assert make_for_peer(peer, "good", checkpoint).is_dir()
    named = make_for_peer(peer, "good", checkpoint, name="one")
    assert make_for_peer(peer, "good", checkpoint, name="other") != named
    assert named.is_dir()
    with pytest.raises(BackendError, match="makes nothing of the checkpoint: luck"):
        make_for_peer(peer, "bad", checkpoint)


def test_what_cannot_be_tuned_says_why(tmp_path):
    with pytest.raises(BackendError, match="no profile exports"):
        tuned_bundle(Bundles({}, {"cpu-fp32": "no such CPU"}, []), max_drift=0.1)
    with pytest.raises(BackendError, match=r"tune: .*bundle\.json"):
        tuned_bundle(Bundles({"cpu-fp32": str(tmp_path)}, {}, []), max_drift=0.1)
