"""Rules on single events: declared in files, written in the Common Expression Language, tried by the stage `classify`.

A rule is about one thing in an event (the event itself, a sensor report, a quantity, a date...) and says when something is
wrong with it. Its verdict is sealed in the event's facts; it flags, it never blocks. What takes several events is not here.
See docs/rules.md.
"""
