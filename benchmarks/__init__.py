"""Measurements of vitrify and its baselines, in one run on one machine; the pages of figures come from here."""
