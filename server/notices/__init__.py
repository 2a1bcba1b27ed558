"""Tell people what happened to their entries: on the site, by e-mail, to programs of theirs."""
