"""Measurements of vitrify beside its peers, in one run on one machine; figures in the README come from here."""
