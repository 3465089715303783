"""A small invented world with English and languages derived from it: no network, two CPU cores."""
