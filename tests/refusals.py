"""What a refused command looks like: one line on stderr, the right exit code, and nothing left behind."""


def assert_refused(done, code, *said, silent=True):
    """The command failed with `code`, in one line that holds every word of `said`, and, if `silent`, no stdout."""
    assert done.code == code, done.err
    err = without_steps(done.err)
    assert err.startswith("vitrify: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    for word in said:
        assert word in err
    assert not silent or done.out == ""


def without_steps(err):
    """Return what a command says on stderr but for the steps of an export and the engines it builds, a line each."""
    return "".join(line for line in err.splitlines(keepends=True) if not line.startswith(("step ", "building ")))


def assert_holds(folder, *names):
    """The folder holds exactly these names."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
