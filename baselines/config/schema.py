"""A run's settings: frozen dataclasses whose fields say what they mean and what they may be.

Sizes in voxels are (Z, Y, X).  `baselines explain FIELD` prints what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def setting(
    default: Any, about: str, *, least: float | None = None, most: float | None = None,
    choices: tuple[Any, ...] = (), unit: str = "",
) -> Any:  # fmt: skip
    """A field with its description, its bounds (both included) or its choices, and its unit."""
    return field(default=default, metadata=said(about, least, most, choices, unit))


def said(
    about: str, least: float | None = None, most: float | None = None,
    choices: tuple[Any, ...] = (), unit: str = "",
) -> dict[str, Any]:  # fmt: skip
    """What `explain` and the rules know of a field."""
    return {"about": about, "least": least, "most": most, "choices": choices, "unit": unit}


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What to learn from."""

    layout: str = setting(
        "auto", "How the data lie: crista is a data folder of ours, template an OME-Zarr tree of "
        "the shape in data.raw and data.truth, images a folder of images and one of masks; auto "
        "looks.",
        choices=("auto", "crista", "template", "images"),
    )  # fmt: skip
    raw: str = setting(
        "{dataset}/{dataset}.zarr/recon-1/em/fibsem-uint8",
        "Where raw lies in a template tree, with {dataset} and {crop}.",
    )
    truth: str = setting(
        "{dataset}/{dataset}.zarr/recon-1/labels/groundtruth/{crop}/{label}",
        "Where annotations lie in a template tree, with {dataset}, {crop} and {label}.",
    )
    absent: str = setting(
        "missing", "What a chunk of raw is that has no file and that `baselines fetch` did not "
        "look for: missing, so that nothing is learnt or predicted there, or black, as libraries "
        "that keep no empty chunks mean it. Data folders that we write are whole.",
        choices=("missing", "black"),
    )  # fmt: skip
    images: str = setting("images", "The folder of images, in the layout images.")
    masks: str = setting("masks", "The folder of masks: the image's name and a suffix.")
    suffix: str = setting("", "What follows the image's name in a mask's; empty: inferred.")
    classes: dict[str, str] = field(
        default_factory=dict,
        metadata=said(
            "Values of a mask and their kinds, as in mito = '2:instance' or cell = 'ids:instance'; "
            "empty: every value but 0 is a semantic class."
        ),
    )
    exclusive: tuple[str, ...] = setting(
        (), "Labels of which one voxel has but one, a group as in 'mito,nuc,ld': where one of them "
        "is annotated, the others are absent, even if nobody looked for them.",
    )  # fmt: skip
    ignore: int = setting(-1, "The value of a mask that nobody annotated; -1: none.", least=-1)
    channel: int = setting(
        -1, "The channel to take of an image with several; -1: refuse.", least=-1
    )
    max_classes: int = setting(10, "More values than this in a mask are a mistake.", least=1)
    planes: tuple[int, ...] = setting((), "First and last + 1 plane to use; empty: all.")
    labels: tuple[str, ...] = setting((), "What to learn; empty: every label of the data.")
    voxel_size: tuple[float, ...] = setting(
        (), "Voxels that the model sees; empty: those of the training crops.", unit="nm"
    )
    coarsest: float = setting(
        1.5, "Annotations with voxels up to so many times as large are resampled, coarser ones are "
        "refused.", least=1,
    )  # fmt: skip
    allow_coarse: tuple[str, ...] = setting((), "Labels that may be coarser than that.")
    drop_empty: bool = setting(False, "Leave out crops in which no chosen label has a voxel.")
    skip_empty: bool = setting(
        False, "Leave out labels that were asked for and have no voxel, with a word."
    )
    cache_gb: float = setting(
        4.0, "Crops that are together larger are read from disk, patch by patch.", least=0,
        unit="GB",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """What is kept from training to validate on."""

    kind: str = setting(
        "planes", "planes: the last planes of each crop; random: whole groups; kfold: fold number "
        "`fold` of `folds`; file: as a split file says. Of a single group, random keeps the end of "
        "each crop and kfold a block of it, with a gap beside what validates.",
        choices=("planes", "random", "kfold", "file"),
    )  # fmt: skip
    by: str = setting(
        "crop",
        "What stays together in one part of the split.",
        choices=("crop", "dataset", "specimen"),
    )
    fraction: float = setting(0.1, "Share kept for validation.", least=0, most=0.9)
    folds: int = setting(
        5, "Most folds; never more than there are groups, or blocks of a single group.", least=2
    )
    fold: int = setting(0, "The fold to validate on, from 0.", least=0)
    file: str = setting("", "A file as `baselines split` writes it.")
    apart: float = setting(
        0.0, "Crops of one dataset nearer than this stay together; overlapping ones always do. The "
        "gap within a single volume is as wide, too, or as a patch sees if that is more.",
        least=0, unit="nm",
    )  # fmt: skip
    seed: int = setting(0, "Same seed, same split.", least=0)


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """Where patches are drawn."""

    foreground: float = setting(
        0.6, "Share of patches centred on a voxel of a chosen label.", least=0, most=1
    )
    negatives: float = setting(
        0.1, "Share of patches from places without any of the labels.", least=0, most=1
    )
    balance: float = setting(
        1.0, "1: rare labels as often as frequent ones; 0: as often as they are.", least=0, most=1
    )
    patches_per_image: int = setting(50, "Patches of an image in an epoch.", least=1, most=10_000)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network.  `dims` and `context` make it 2D, 2.5D or 3D."""

    name: str = setting("unet", "The family: unet, or monai:NAME where MONAI is installed.")
    dims: int = setting(2, "2 sees planes, 3 sees volumes.", choices=(2, 3))
    context: int = setting(
        0, "2.5D: so many planes on each side of the predicted one go in.", least=0, most=8
    )
    width: int = setting(24, "Channels of the first level; doubled per level.", least=8, most=512)
    most: int = setting(192, "Channels of a level at most.", least=8, most=4096)
    levels: int = setting(4, "Levels of the U.", least=1, most=8)
    stem: int = setting(
        1, "The network works on voxels so many times as large within the plane.", least=1, most=8
    )
    block: str = setting("plain", "plain: two convolutions; residual: an encoder of residual "
                         "blocks.", choices=("plain", "residual"))  # fmt: skip
    depths: tuple[int, ...] = setting((), "Residual blocks per level; empty: 1, 3, 4, 6, 6, … .")
    norm: str = setting(
        "group", "Normalisation within the network.", choices=("group", "instance", "batch")
    )
    up: str = setting(
        "nearest", "How the way up enlarges.", choices=("nearest", "linear", "transpose")
    )
    deep_supervision: bool = setting(False, "Losses on the coarser levels, too.")


@dataclass(frozen=True, slots=True)
class LossConfig:
    """What is made small, on annotated voxels only."""

    kind: str = setting(
        "dice_bce", "The loss of masks.", choices=("dice_bce", "bce", "dice", "focal", "tversky")
    )
    most_weight: float = setting(
        10.0, "Rare labels weigh more, up to so many times.", least=1, most=100
    )


@dataclass(frozen=True, slots=True)
class ObjectsConfig:
    """How instance labels are learnt and become objects."""

    representation: str = setting(
        "bcd", "bcd: mask, contour and distance, then watershed; affinity: affinities, "
        "then mutex watershed; components: a mask with gaps, then connected components.",
        choices=("bcd", "affinity", "components"),
    )  # fmt: skip
    shrink: dict[str, int] = field(
        default_factory=dict,
        metadata=said(
            "components: voxels taken off objects within the plane while learning.", least=0
        ),
    )
    smallest_nm3: float = setting(0.0, "Objects below this are removed.", least=0, unit="nm³")
    smallest: dict[str, float] = field(
        default_factory=dict,
        metadata=said("Objects of this label below this are removed.", least=0, unit="nm³"),
    )
    fill_holes: bool = setting(True, "Fill holes in objects.")
    tune: bool = setting(True, "Choose thresholds on the validation voxels.")
    seed_mask: float = setting(
        0.9, "bcd: a seed of an object is where the mask is above this, …", least=0, most=1
    )
    seed_contour: float = setting(0.8, "bcd: … the contour below this, …", least=0, most=1)
    seed_distance: float = setting(0.5, "bcd: … and the distance above this.", least=0, most=1)
    bias: float = setting(
        0.5, "affinity: at this affinity voxels neither join nor part.", least=0, most=1
    )
    most: int = setting(
        100_000, "A crop with more objects of a label gets a warning: scores take time.", least=1
    )


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """What may happen to a patch.  Spreads are of normalised raw (mean 0, deviation 1)."""

    enabled: bool = setting(True, "Augment at all.")
    orientation: bool = setting(True, "Flips, turns and rotations; off if orientation matters.")
    flips: bool = setting(True, "Mirror along each axis.")
    turns: bool = setting(True, "Quarter turns within the plane.")
    rotation: float = setting(
        0.2, "Share of patches turned by any angle within the plane.", least=0, most=1
    )
    scaling: float = setting(0.2, "Share of patches that are enlarged.", least=0, most=1)
    scale: tuple[float, ...] = setting(
        (0.8, 1.25), "Least and most enlargement.", least=0.1, most=10
    )
    gain: float = setting(0.2, "Spread of contrast, as a logarithm.", least=0, most=2)
    bias: float = setting(0.2, "Spread of brightness.", least=0, most=2)
    gamma: float = setting(0.2, "Spread of gamma, as a logarithm.", least=0, most=2)
    noise: float = setting(0.1, "Spread of noise.", least=0, most=2)
    blur: float = setting(0.1, "Share of patches that are blurred.", least=0, most=1)
    missing: float = setting(0.0, "Share of patches with a missing section.", least=0, most=1)
    misalignment: float = setting(0.0, "Share with sections that jump.", least=0, most=1)
    stripes: float = setting(0.0, "Share with stripes.", least=0, most=1)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The schedule.  It ends after `iterations`, or `seconds` of wall time if that is above 0."""

    start: str = setting(
        "", "Begin with the weights of another run: its folder, or a model file in it. The network "
        "must be alike; channels are taken over by the names of labels. Empty: new weights.",
    )  # fmt: skip
    iterations: int = setting(2000, "Updates of the weights.", least=1)
    epochs: int = setting(0, "Instead of iterations: rounds through the patches; 0: not.", least=0)
    seconds: float = setting(0.0, "Most wall time; 0: no limit.", least=0, unit="s")
    batch: int = setting(8, "Patches of an iteration; 4 to 8 is usual.", least=1)
    accumulate: int = setting(1, "A batch goes through in so many parts.", least=1)
    patch: tuple[int, ...] = setting(
        (1, 128, 128), "Size of a patch (Z, Y, X).", least=1, unit="voxels"
    )
    optimizer: str = setting(
        "adamw", "adamw; radam: the same, steadier at the beginning; sgd: with Nesterov momentum "
        "0.9, for which an lr of 0.01 is usual.",
        choices=("adamw", "radam", "sgd"),
    )  # fmt: skip
    lr: float = setting(1e-3, "Learning rate; 1e-5 to 2e-3 is usual.", least=1e-8, most=1)
    schedule: str = setting(
        "cosine", "How the learning rate falls after the warm-up; plateau: halved when `plateau` "
        "validations in a row brought no gain.",
        choices=("cosine", "poly", "plateau", "constant"),
    )  # fmt: skip
    plateau: int = setting(3, "Validations without gain that make the schedule plateau fall.",
                           least=1)  # fmt: skip
    weight_decay: float = setting(1e-2, "Weight decay of convolutions.", least=0, most=1)
    warmup: float = setting(
        0.03, "Share of the schedule in which the learning rate climbs.", least=0, most=0.5
    )
    clip: float = setting(1.0, "Gradients are cut to this norm.", least=1e-6)
    ema: float = setting(0.99, "How slowly the averaged weights follow.", least=0, most=0.99999)
    seed: int = setting(0, "Same seed, same run.", least=0)
    validate_every: int = setting(0, "Iterations between validations; 0: only at the end.", least=0)
    validation_tiles: int = setting(
        0, "Most tiles of a validation, shared among what is kept and the same each time; 0: all. "
        "There is no limit by seconds: how far it gets, and so which weights are the best, would "
        "differ from one machine to the next, and for a run that goes on.",
        least=0, unit="tiles",
    )  # fmt: skip
    patience: int = setting(10, "Validations without gain before it stops; 0: never.", least=0)
    save_every: int = setting(
        0, "Iterations between checkpoints; divides the total; 0: a tenth of it.", least=0
    )
    keep: int = setting(3, "Checkpoints kept beside the last and the best.", least=0)
    workers: int = setting(-1, "Threads that read patches; -1: by the processors.", least=-1)
    precision: str = setting(
        "auto",
        "Numbers that the network computes with; auto: bf16 where it is fast.",
        choices=("auto", "fp32", "bf16"),
    )
    compile: str = setting(
        "auto", "Compile the network; auto: on a GPU.", choices=("auto", "on", "off")
    )
    tensorboard: bool = setting(False, "Write events for TensorBoard, too; needs the extra.")


@dataclass(frozen=True, slots=True)
class PredictionConfig:
    """How a volume is predicted."""

    tile: tuple[int, ...] = setting(
        (1, 256, 256), "Size of a tile (Z, Y, X).", least=1, unit="voxels"
    )
    overlap: tuple[int, ...] = setting(
        (0, 64, 64), "Overlap of tiles (Z, Y, X); half a tile at most.", least=0, unit="voxels"
    )
    block: tuple[int, ...] = setting(
        (16, 512, 512),
        "Size of a block (Z, Y, X): what is written at once.",
        least=1,
        unit="voxels",
    )
    memory_gb: float = setting(
        4.0, "Blocks are widened while their sums fit in here: fewer tiles are computed twice.",
        least=0, unit="GB",
    )  # fmt: skip
    batch: int = setting(8, "Tiles that go through together.", least=1)
    mirror: str = setting(
        "none", "Predict mirrored tiles, too, and average.", choices=("none", "plane", "all")
    )
    orthoplanes: bool = setting(False, "2D: planes along all three axes, averaged.")
    uncertainty: bool = setting(
        False,
        "Store how far folds and mirrored tiles disagree; of several votes, doubt is told only "
        "then.",
    )
    output: str = setting("zarr", "What is written.", choices=("zarr", "tiff", "both"))
    thresholds: dict[str, float] = field(
        default_factory=dict,
        metadata=said(
            "Per label, in place of those chosen on the validation voxels.", least=0, most=1
        ),
    )


@dataclass(frozen=True, slots=True)
class TrainedConfig:
    """What training fills in, so that config.json alone says what the weights are."""

    kinds: dict[str, str] = field(
        default_factory=dict, metadata=said("Whether each label is semantic or instance.")
    )
    fingerprint: str = setting("", "Of the network and its channels; weights carry it, too.")
    start: str = setting("", "The file of weights that training began with; empty: new ones.")
    start_digest: str = setting("", "SHA-256 of that file.")


@dataclass(frozen=True, slots=True)
class Config:
    """One run."""

    name: str = setting("segmentation", "Names the run: letters, digits, -, _ and . (not first).")
    preset: str = setting("", "fast, balanced, high_quality or workspace: what is not given here.")
    task: str = setting("segmentation", "What the network learns.", choices=("segmentation",))
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    sampling: SamplingConfig = SamplingConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    objects: ObjectsConfig = ObjectsConfig()
    augment: AugmentConfig = AugmentConfig()
    training: TrainingConfig = TrainingConfig()
    prediction: PredictionConfig = PredictionConfig()
    trained: TrainedConfig = TrainedConfig()
