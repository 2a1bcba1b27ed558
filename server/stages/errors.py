"""How a stage ends when it does not end well."""

from __future__ import annotations

LOST = "lost"


class StageDied(Exception):
    """The process of a stage was killed, went over a limit or broke.

    stage: "check", "ingest" or "score".  reason: "memory", "cpu", "time", "signal 9", "exit 1",
    "result" (its answer made no sense), or "lost": the processes' parent ended, which says nothing
    about this target.  trace: for the log of the operators alone; it may name paths, and after an
    ingest its text is a stranger's.
    """

    def __init__(self, stage: str, reason: str, trace: str = "") -> None:
        super().__init__(f"the {stage} stage died: {reason}")
        self.stage = stage
        self.reason = reason
        self.trace = trace


class StageRefused(Exception):
    """A stage said no in words.

    blame: "participant", "organiser" or "system".  sentence: for whoever is to blame; an
    organiser's may tell of the truth.
    """

    def __init__(self, stage: str, blame: str, sentence: str) -> None:
        super().__init__(sentence)
        self.stage = stage
        self.blame = blame
        self.sentence = sentence
