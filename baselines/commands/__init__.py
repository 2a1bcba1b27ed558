"""The commands, by subject.  Each imports what it needs when it is called: help comes at once."""
