"""Answer over a network: one ASGI app on bundles, by the protocols that clients speak.

It stands on the runtime alone; no part of the runtime knows of it.
"""
