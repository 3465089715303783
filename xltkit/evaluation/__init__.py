"""One prediction stream: in all languages, in mixed pairs, or under attack."""
