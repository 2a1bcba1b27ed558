"""Image stacks of any lab into a data folder.

A stack is a multi-page TIFF, a folder of single TIFF or PNG images in the order of their names
(z2 before z10), or one PNG.  A description, `stack.toml`, says which stacks belong together:

    slug = "my-tissue"                    # optional: slug, title, summary of the challenge
    voxel_size = [50, 4.6, 4.6]           # nm along (Z, Y, X)

    [classes.membrane]                    # a class of structure
    kind = "semantic"                     # or "instance"
    values = [1]                          # its values in the label stack ...
    [classes.mitochondrion]
    kind = "instance"
    values = [3]                          # ... objects are the connected components
    planar = false                        # true: components within single planes
    [classes.neuron]
    kind = "instance"
    ids = true                            # ... or every nonzero value is an object's id
    [classes.nucleus]
    kind = "semantic"
    masks = true                          # ... or the class has a stack of its own

    [[crop]]
    name = "a"
    split = "train"                       # or "hidden"
    raw = "raw.tif"                       # paths are relative to the description
    labels = "classes.tif"                # the label stack
    masks = { nucleus = "nucleus.tif" }   # stacks of single classes
    planes = [0, 10]                      # optional: only these, from the first up to the last
    offset = [0, 0, 0]                    # optional: nm, where the first plane of the raw lies
"""

from __future__ import annotations

import dataclasses
import math
import re
import struct
import tomllib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from baselines.config import ConfigError, build
from baselines.layout import DataError, DataFolder, Purpose, crop_of
from baselines.progress import Progress
from baselines.volumes.components import components
from baselines.volumes.image_files import IMAGES
from evaluator.geometry import Nanometres, VoxelGrid
from evaluator.manifest import NAME, Kind, Label, Target
from evaluator.tiff import natural
from evaluator.volume import create_volume

# What the readers raise over a damaged file: their own errors, and those of what they stand on.
_DAMAGE = (OSError, ValueError, ArithmeticError, LookupError, SyntaxError, struct.error, zlib.error)


@dataclass(frozen=True, slots=True)
class ClassRule:
    """How a class is read.  values: in the label stack; ids: nonzero values are object ids.

    smallest: objects below so many voxels are dropped when they come from connected components.
    """

    kind: str
    values: tuple[int, ...] = ()
    ids: bool = False
    masks: bool = False
    planar: bool = False
    smallest: int = 1
    id: int = 0  # the label's id in labels.toml; 0: the next that is free


@dataclass(frozen=True, slots=True)
class CropFiles:
    """The stacks of one crop."""

    name: str
    split: str
    raw: str
    labels: str = ""
    masks: dict[str, str] = field(default_factory=dict)
    planes: tuple[int, ...] = ()
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class StackPlan:
    """What `stack.toml` says.  folder: where its paths begin."""

    folder: Path = Path()
    voxel_size: tuple[float, ...] = ()
    classes: dict[str, ClassRule] = field(default_factory=dict)
    crops: tuple[CropFiles, ...] = ()
    slug: str = "stacks"
    title: str = "Image stacks"
    summary: str = "A challenge made from image stacks."
    dataset: str = "stacks"


def load_plan(path: Path) -> StackPlan:
    """The plan in a stack.toml, or in the folder that holds one.  Raises DataError."""
    path = path / "stack.toml" if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path} is missing: write it; it says which stacks belong together.")
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        crops = [build(CropFiles, crop, where="crop") for crop in table.pop("crop", [])]
        plan: StackPlan = build(StackPlan, table, where="")
    except (tomllib.TOMLDecodeError, ConfigError, TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    plan = dataclasses.replace(plan, folder=path.parent, crops=tuple(crops))
    _check(plan, path)
    return plan


def plan_of_one(
    raw: Path, *, labels: Path | None, masks: Sequence[str], classes: Sequence[str], planar: bool,
    voxel_size: Nanometres, crop: str, split: str, planes: tuple[int, ...],
) -> StackPlan:  # fmt: skip
    """The plan for one crop, as given on the command line.

    classes: NAME=VALUE[,VALUE…]:KIND or NAME=ids:instance.  masks: NAME=PATH:KIND.
    """
    rules: dict[str, ClassRule] = {}
    paths: dict[str, str] = {}
    for text in classes:
        name, values, kind = _parts(text)
        numbers = () if values == "ids" else _numbers(values, text)
        rules[name] = ClassRule(kind, values=numbers, ids=values == "ids", planar=planar)
    for text in masks:
        name, path, kind = _parts(text)
        paths[name] = str(Path(path).absolute())
        rules[name] = ClassRule(kind, masks=True, planar=planar)
    files = CropFiles(
        crop, split, str(raw.absolute()), labels=str(labels.absolute()) if labels else "",
        masks=paths, planes=planes,
    )  # fmt: skip
    plan = StackPlan(raw.absolute().parent, voxel_size, rules, (files,))
    _check(plan, raw)
    return plan


def _parts(text: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"([^=:]+)=(.+):(semantic|instance)", text)
    if found is None:
        raise DataError(f"{text!r} needs the form NAME=VALUE:semantic or NAME=VALUE:instance.")
    return found[1], found[2], found[3]


def _numbers(values: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(value) for value in values.split(","))
    except ValueError:
        raise DataError(f"{text!r}: values are whole numbers, separated by commas.") from None


def import_stacks(plan: StackPlan, data: DataFolder, *, progress: Progress = print) -> None:
    """Write every crop of a plan into a data folder; crops that are there already are replaced.

    All stacks are read and checked before anything of a crop is written.  Raises DataError.
    """
    labels = define_labels(plan, data)
    for files in plan.crops:
        split = Purpose(files.split)
        _keep_apart(files.name, split, plan.dataset, data)
        raw, found = read_crop(plan, files)
        grid = VoxelGrid(raw.shape, _triple(plan.voxel_size), _offset(plan, files))
        crop = crop_of(files.name, plan.dataset)
        targets = [Target(crop, labels[name], grid) for name in found]
        create_volume(data.raw(split, crop.folder), grid, raw.dtype, multiscale=True)[:] = raw
        for target in targets:
            values = found[target.label.name]
            path = data.label(split, target)
            create_volume(path, grid, values.dtype, multiscale=False)[:] = values
        data.add_targets(split, targets)
        progress(f"{files.name}: {raw.shape} {', '.join(found)}")
        if split is Purpose.HIDDEN:
            data.describe_challenge(
                slug=plan.slug, title=plan.title, summary=plan.summary, overview=_overview(plan)
            )


def read_crop(plan: StackPlan, files: CropFiles) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The raw of a crop and the annotation of each class that it has stacks for.

    Raises DataError: a stack is missing, unreadable, of another shape than the raw, or uniform.
    """
    raw = _planes(read_stack(plan.folder / files.raw), files, plan.folder / files.raw)
    if raw.min() == raw.max():
        raise DataError(
            f"{plan.folder / files.raw} is uniform: every voxel is {raw.flat[0]}; take another."
        )
    if not np.isfinite(raw).all():
        raise DataError(f"{plan.folder / files.raw} holds NaN or infinity; replace them.")
    found: dict[str, np.ndarray] = {}
    for path, names in _label_stacks(plan, files):
        values = _planes(read_stack(path), files, path)
        if values.shape != raw.shape:
            raise DataError(f"{path} has shape {values.shape}, its raw {files.raw} {raw.shape}.")
        if values.dtype.kind not in "bui" or values.min() < 0 or values.max() >= 2**32:
            raise DataError(
                f"{path} holds {values.dtype} from {values.min()} to {values.max()}; "
                "labels must be whole numbers from 0 to 4294967295."
            )
        for name in names:
            found[name] = annotation(values, plan.classes[name])
    return _grey(raw), found


def annotation(values: np.ndarray, rule: ClassRule) -> np.ndarray:
    """Mask (0, 1) or object ids of a class, from its label stack."""
    if rule.ids:
        return values.astype(np.min_scalar_type(int(values.max())))
    inside = np.isin(values, rule.values) if rule.values else values > 0
    if rule.kind == Kind.SEMANTIC:
        return inside.astype(np.uint8)
    return components(inside, smallest=rule.smallest, planar=rule.planar)


def read_stack(path: Path) -> np.ndarray:
    """A stack (Z, Y, X).  Raises DataError, naming the file at fault."""
    if path.is_dir():
        files = natural(p for p in path.iterdir() if p.suffix.lower() in IMAGES)
        if not files:
            raise DataError(f"{path} holds no TIFF or PNG images: put some there.")
        planes = [_read_image(file) for file in files]
        for file, plane in zip(files, planes, strict=True):
            if plane.shape[1:] != planes[0].shape[1:]:
                raise DataError(
                    f"{file} has shape {plane.shape[1:]}, the first image {planes[0].shape[1:]}: "
                    "crop them alike."
                )
        return np.concatenate(planes)
    if not path.is_file():
        raise DataError(f"{path} is missing: give a TIFF, a PNG or a folder of them.")
    return _read_image(path)


def _read_image(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".png":
            # A large section is no attack: Pillow's limit is for pictures that strangers send.
            Image.MAX_IMAGE_PIXELS = None
            with Image.open(path) as image:
                array = np.asarray(image)
        else:
            array = _read_tiff(path)
    except (*_DAMAGE, tifffile.TiffFileError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}. Save it again.") from error
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3 or (path.suffix.lower() == ".png"):
        raise DataError(
            f"{path} has shape {array.shape}; expected grey planes (Y, X) or a stack (Z, Y, X)."
        )
    return array


def _read_tiff(path: Path) -> np.ndarray:
    with tifffile.TiffFile(path) as file:
        if any("S" in series.axes for series in file.series):
            raise ValueError("it is in colour, not grey")
        return file.asarray()


def _keep_apart(name: str, split: Purpose, dataset: str, data: DataFolder) -> None:
    """Raises DataError if a crop lies in the other split: hidden truth must not be handed out."""
    other = Purpose.TRAIN if split is Purpose.HIDDEN else Purpose.HIDDEN
    if crop_of(name, dataset).folder in data.crops(other):
        raise DataError(f"crop {name} is a {other} crop of {data.root}; it cannot be {split} too.")


def define_labels(plan: StackPlan, data: DataFolder) -> dict[str, Label]:
    """The label of each class: with the id it has in the data folder, or the next free one."""
    known = data.known_labels()
    used = {label.id for label in known.values()} | {rule.id for rule in plan.classes.values()}
    labels: dict[str, Label] = {}
    for name, rule in plan.classes.items():
        number = rule.id or (known[name].id if name in known else 0)
        if not number:
            number = next(n for n in range(1, len(used) + 2) if n not in used)
            used.add(number)
        labels[name] = Label(name, number, Kind(rule.kind))
    names = {label.id: label.name for label in known.values()}
    for label in labels.values():
        if (taken := names.setdefault(label.id, label.name)) != label.name:
            raise DataError(f"classes {taken} and {label.name} cannot both have the id {label.id}.")
    return labels


def _label_stacks(plan: StackPlan, files: CropFiles) -> Iterator[tuple[Path, list[str]]]:
    """Each label stack of a crop, with the classes to be read from it."""
    if files.labels:
        own = [name for name, rule in plan.classes.items() if not rule.masks]
        yield plan.folder / files.labels, [name for name in own if name not in files.masks]
    for name, path in files.masks.items():
        yield plan.folder / path, [name]


def _planes(stack: np.ndarray, files: CropFiles, path: Path) -> np.ndarray:
    if not files.planes:
        return stack
    first, last = files.planes
    if not 0 <= first < last <= len(stack):
        raise DataError(
            f"{path} has planes 0 to {len(stack)}; planes {list(files.planes)} do not fit."
        )
    return stack[first:last]


def _grey(raw: np.ndarray) -> np.ndarray:
    """Raw as uint8 or uint16; other kinds are stretched over uint16."""
    if raw.dtype in (np.uint8, np.uint16):
        return raw
    low, high = float(raw.min()), float(raw.max())
    return np.round((raw.astype(np.float64) - low) / (high - low) * 65535).astype(np.uint16)


def _offset(plan: StackPlan, files: CropFiles) -> Nanometres:
    z, y, x = files.offset
    return (z + (files.planes[0] if files.planes else 0) * plan.voxel_size[0], y, x)


def _triple(size: tuple[float, ...]) -> Nanometres:
    z, y, x = size
    return (z, y, x)


def _check(plan: StackPlan, path: Path) -> None:
    sized = len(plan.voxel_size) == 3 and all(0 < size < math.inf for size in plan.voxel_size)
    for holds, rule in (
        (sized, "voxel_size needs three values in nm, above 0"),
        (re.fullmatch(r"[\w-]+", plan.slug, re.ASCII), "slug is made of letters, digits, - and _"),
        (plan.classes, "at least one [classes.NAME] is needed"),
        (plan.crops, "at least one [[crop]] is needed"),
    ):  # fmt: skip
        if not holds:
            raise DataError(f"{path}: {rule}.")
    for name, class_rule in plan.classes.items():
        _check_class(name, class_rule, path)
    for crop in plan.crops:
        _check_crop(crop, plan, path)
    folders = [crop_of(crop.name, plan.dataset).folder for crop in plan.crops]
    if twice := sorted({name for name in folders if folders.count(name) > 1}):
        raise DataError(f"{path}: crop {twice[0]} is there twice: rename one.")


def _check_class(name: str, rule: ClassRule, path: Path) -> None:
    if not NAME.fullmatch(name) or rule.kind not in tuple(Kind):
        raise DataError(
            f'{path}: classes.{name} needs a plain name and kind = "semantic" or "instance".'
        )
    if rule.id < 0:
        raise DataError(f"{path}: classes.{name}: an id is 1 or more.")
    if rule.ids and rule.kind != Kind.INSTANCE:
        raise DataError(f"{path}: classes.{name}: ids = true is for instance classes.")
    if not (rule.values or rule.ids or rule.masks):
        raise DataError(f"{path}: classes.{name} needs values = [...], ids or masks = true.")


def _check_crop(crop: CropFiles, plan: StackPlan, path: Path) -> None:
    if crop.split not in tuple(Purpose) or not NAME.fullmatch(crop.name):
        raise DataError(
            f'{path}: crop {crop.name!r} needs a plain name and split = "train" or "hidden".'
        )
    placed = len(crop.offset) == 3 and all(map(math.isfinite, crop.offset))
    if len(crop.planes) not in (0, 2) or not placed:
        raise DataError(f"{path}: crop {crop.name}: planes has two values, offset has three.")
    if unknown := sorted(set(crop.masks) - set(plan.classes)):
        raise DataError(f"{path}: crop {crop.name} has masks of unknown classes {unknown}.")
    if not crop.labels and not crop.masks:
        raise DataError(f"{path}: crop {crop.name} needs labels or masks.")
    if not any(names for _, names in _label_stacks(plan, crop)):
        raise DataError(f"{path}: crop {crop.name} has no stack for any class.")


def _overview(plan: StackPlan) -> str:
    rows = "\n".join(f"| {name} | {rule.kind} |" for name, rule in sorted(plan.classes.items()))
    size = " × ".join(f"{v:g}" for v in plan.voxel_size)
    return (
        f"# {plan.title}\n\n{plan.summary}\n\nVoxels are {size} nm (Z, Y, X).\n\n"
        f"| label | kind |\n| --- | --- |\n{rows}\n"
    )
