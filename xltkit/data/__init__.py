"""Where rows come from, what columns they have, which languages there are, and their words."""
