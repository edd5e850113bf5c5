"""What keeps a peer from a figure, in one line."""


class PeerError(Exception):
    """A peer that is not installed, does not build, crashes, takes too long or does other work than was asked."""
