"""All names that `evaluator` offers, from where they live."""

from evaluator.blocks import (
    BlockError,
    block_digests,
    content_digest,
    open_blocks,
    protocols_of,
    write_blocks,
)
from evaluator.digest import array_digest, canonical_json, file_digest, json_digest
from evaluator.errors import (
    EvaluatorError,
    ManifestError,
    ServerError,
    SubmissionError,
    Unreadable,
)
from evaluator.geometry import VoxelGrid
from evaluator.manifest import (
    Crop,
    Kind,
    Label,
    Manifest,
    Target,
    format_labels,
    format_manifest,
    load_manifest,
    parse_labels,
    parse_manifest,
)
from evaluator.packing import SubmissionWriter
from evaluator.predictions import pack_folder
from evaluator.protocol import PROTOCOLS, Protocol, differences, get_protocol
from evaluator.reading import Prediction, Reader
from evaluator.report import CATALOGUE, Problem, Report, grouped
from evaluator.runner import score_prediction, score_submission, score_target
from evaluator.scores import Counts, Result, Status, Sums, TargetScore, label_score, pool
from evaluator.scoring import score_pair, worst_sums
from evaluator.submission import Submission, check_submission, open_submission
from evaluator.truth import Truth, open_truth
from evaluator.version import __version__
from evaluator.volume import Volume, create_volume, open_volume

__all__ = [
    "CATALOGUE",
    "PROTOCOLS",
    "BlockError",
    "Counts",
    "Crop",
    "EvaluatorError",
    "Kind",
    "Label",
    "Manifest",
    "ManifestError",
    "Prediction",
    "Problem",
    "Protocol",
    "Reader",
    "Report",
    "Result",
    "ServerError",
    "Status",
    "Submission",
    "SubmissionError",
    "SubmissionWriter",
    "Sums",
    "Target",
    "TargetScore",
    "Truth",
    "Unreadable",
    "Volume",
    "VoxelGrid",
    "__version__",
    "array_digest",
    "block_digests",
    "canonical_json",
    "check_submission",
    "content_digest",
    "create_volume",
    "differences",
    "file_digest",
    "format_labels",
    "format_manifest",
    "get_protocol",
    "grouped",
    "json_digest",
    "label_score",
    "load_manifest",
    "open_blocks",
    "open_submission",
    "open_truth",
    "open_volume",
    "pack_folder",
    "parse_labels",
    "parse_manifest",
    "pool",
    "protocols_of",
    "score_pair",
    "score_prediction",
    "score_submission",
    "score_target",
    "worst_sums",
    "write_blocks",
]
