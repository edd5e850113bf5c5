"""`python -m vitrify`: the command line."""

from .cli import main

main()
