"""What a refused command looks like: one line on stderr, the right exit code, and nothing left behind."""


def assert_refused(done, code, *said, silent=True):
    """The command failed with `code`, in one line that holds every word of `said`, and, if `silent`, no stdout."""
    assert done.code == code, done.err
    assert done.err.startswith("vitrify: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    for word in said:
        assert word in done.err
    assert not silent or done.out == ""


def assert_holds(folder, *names):
    """The folder holds exactly these names."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
