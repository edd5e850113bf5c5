"""What vitrify is measured beside: each peer in its own environment, and what is asked of all of them."""
