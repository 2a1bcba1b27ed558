"""`baselines inspect`: what is wrong with data, all of it, before any training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from baselines.config import Config
from baselines.data.placing import LeftOut, OpenCrop, raw_around
from baselines.data.sources import Source, SourceCrop, open_source
from baselines.inspecting.extents import Extents, count_voxels, measure_objects
from baselines.inspecting.findings import CropLook, Finding, Inspection, Severity
from baselines.inspecting.grey import Grey, measure_grey, outliers
from baselines.layout import DataError, ShapesDiffer, TooManyClasses
from baselines.progress import Progress
from baselines.volumes.image_files import IMAGES, faults_of, images_below
from baselines.volumes.images import UNSIZED, Image
from baselines.volumes.levels import alike, triple
from baselines.volumes.readers import Reader
from evaluator.errors import EvaluatorError, Unreadable, meant
from evaluator.manifest import Kind

_RULES = ((ShapesDiffer, "dimensions"), (TooManyClasses, "classes"), (Unreadable, "unreadable"))
_OF_PLACES = ("raw", "left-out")  # training says the same once more, crop by crop, as it begins


def inspect(
    data: Path, config: Config, *, objects: bool = True, progress: Progress = print
) -> Inspection:
    """Look at all annotated crops in a folder, with every voxel of raw and annotations.

    objects: measure those of instance labels, too.  What is wrong with the data is a finding, and
    never raised.
    """
    faulty = dict(_of_files(data, config))
    findings = [finding for found in faulty.values() for finding in found]
    try:
        source = open_source(data, config.data)
    except EvaluatorError as error:
        # A file at fault stops the first reader of all files; once is enough.
        return Inspection((), {}, tuple(findings or [_of_error(error)]))
    looks = []
    for crop in source.crops:
        progress(f"looking at {crop.name}")
        look, found = _look_at(crop, source, config, objects=objects)
        # A file at fault also stops its reader; once is enough.
        findings += [f for f in found if not any(str(file) in f.message for file in faulty)]
        looks += [look] if look is not None else []
    findings = _refused(findings, source)
    findings += [*_of_labels(looks, source, config), *_of_objects(looks, config), *_of_grey(looks)]
    return Inspection(tuple(looks), dict(source.kinds), tuple(dict.fromkeys(findings)))


def _refused(findings: list[Finding], source: Source) -> list[Finding]:
    """Crops that are left out are an error only if there are no others."""
    left = {finding.crop for finding in findings if finding.rule == "left-out"}
    if left != {crop.name for crop in source.crops}:
        return findings
    return [replace(f, severity=Severity.ERROR) if f.rule == "left-out" else f for f in findings]


def require_sound(data: Path, config: Config, *, progress: Progress = print) -> None:
    """Raises DataError with all that stands in the way of training; says what makes it poor."""
    found = inspect(data, config, objects=False, progress=lambda _: None)
    for finding in found.findings:
        if finding.severity is Severity.WARNING and finding.rule not in _OF_PLACES:
            progress(f"warning: {finding.message}")
    if not found.sound:
        errors = [f.message for f in found.findings if f.severity is Severity.ERROR]
        raise DataError("\n".join(errors))


def _of_files(data: Path, config: Config) -> Iterator[tuple[Path, list[Finding]]]:
    """Files with their faults, where images and masks lie in folders."""
    if config.data.layout not in ("auto", "images"):
        return
    for folder, mask in ((config.data.images, False), (config.data.masks, True)):
        for file in images_below(data / folder):
            faults = faults_of(file, mask=mask, channel=config.data.channel)
            if found := [Finding(Severity.ERROR, rule, message) for rule, message in faults]:
                yield file, found


def _of_error(error: EvaluatorError, crop: str = "") -> Finding:
    rule = next((rule for kind, rule in _RULES if isinstance(error, kind)), "data")
    return Finding(Severity.ERROR, rule, str(error), crop)


def _look_at(
    crop: SourceCrop, source: Source, config: Config, *, objects: bool
) -> tuple[CropLook | None, list[Finding]]:
    try:
        raw = crop.raw()
        grey = measure_grey(raw.levels[0].reader)
    except EvaluatorError as error:
        return None, [_of_error(error, crop.name)]
    findings, labels = list(_of_raw(crop.name, raw, grey, config)), {}
    images: dict[str, Image] = {}
    for name, opened in crop.labels.items():
        if config.data.labels and name not in config.data.labels:
            continue
        has_objects = objects and source.kinds.get(name) is Kind.INSTANCE
        try:
            image = opened()
            labels[name] = _extents(image.levels[0].reader, source, objects=has_objects)
            images[name] = image
        except EvaluatorError as error:
            findings.append(_of_error(error, crop.name))
    if images:
        findings += _of_place(OpenCrop(crop, raw, images), config)
    return CropLook(crop.name, raw.finest.shape, raw.finest.voxel_size, grey, labels), findings


def _of_place(crop: OpenCrop, config: Config) -> Iterator[Finding]:
    """Raw that is missing, lies elsewhere or is too coarse for what is annotated."""
    size = triple(config.data.voxel_size or crop.voxel_size)
    grids = [image.finest for image in crop.labels.values()]
    said: list[str] = []
    try:
        raw_around(crop, grids, size, lambda _: (0, 0, 0), config.data, said.append)
    except LeftOut as error:
        yield Finding(Severity.WARNING, "left-out", str(error), crop.source.name)
    for text in said:
        yield Finding(Severity.WARNING, "raw", text, crop.source.name)


def _extents(ids: Reader, source: Source, *, objects: bool) -> Extents:
    extents = count_voxels(ids)
    return replace(extents, objects=measure_objects(ids, masks=source.masks) if objects else None)


def _of_raw(name: str, raw: Image, grey: Grey, config: Config) -> Iterator[Finding]:
    where = Path(raw.where).name if _is_file(raw) else raw.where
    # In data with a manifest, resin without any tissue is a crop like others: it teaches absence.
    severity = Severity.ERROR if _is_file(raw) else Severity.WARNING
    if grey.low == grey.high == 0:
        yield Finding(severity, "all-zero", f"all pixels are zero (no data): {where}", name)
    elif grey.low == grey.high:
        said = f"uniform intensity (no contrast): {where}, every pixel is {grey.low:g}"
        yield Finding(severity, "uniform", said, name)
    if not grey.finite:
        said = f"{where} holds NaN or infinity; grey values are finite."
        yield Finding(Severity.ERROR, "not-finite", said, name)
    if grey.dtype not in ("uint8", "uint16"):
        said = f"{where} holds {grey.dtype}; grey values of 8 or 16 bits are usual."
        yield Finding(Severity.NOTE, "dtype", said, name)
    if raw.finest.voxel_size == UNSIZED and not config.data.voxel_size:
        said = "images do not say their voxel size: 1 nm is assumed. Set data.voxel_size."
        yield Finding(Severity.WARNING, "voxel-size", said)


def _is_file(raw: Image) -> bool:
    path = Path(raw.where)
    return path.is_file() or (
        path.is_dir() and any(file.suffix.lower() in IMAGES for file in path.iterdir())
    )


def _of_labels(looks: list[CropLook], source: Source, config: Config) -> Iterator[Finding]:
    """Labels without a voxel, and voxel sizes that differ."""
    wanted = config.data.labels or source.labels
    empty = [name for name in wanted if _is_empty(name, looks, source)]
    may_miss = config.data.skip_empty or not config.data.labels
    severity = Severity.WARNING if may_miss and len(empty) < len(wanted) else Severity.ERROR
    for name in empty:
        times = sum(name in crop.labels for crop in source.crops)
        advice = (
            "Leave it out, or set data.skip_empty = true." if times
            else f"Labels of the data are {', '.join(source.labels)}{meant(name, source.labels)}."
        )  # fmt: skip
        said = (
            f"no annotated voxels for class(es): {name} (annotated in {times} of "
            f"{len(source.crops)} crops). {'It is left out.' if may_miss else advice}"
        )
        yield Finding(severity, "no-voxels", said)
    sizes = sorted({look.voxel_size for look in looks})
    if not config.data.voxel_size and not all(alike(size, sizes[0]) for size in sizes):
        listed = ", ".join(map(str, sizes[:5]))
        said = f"raw has different voxel sizes: {listed} nm. Set data.voxel_size."
        yield Finding(Severity.WARNING, "voxel-size", said)


def _is_empty(name: str, looks: list[CropLook], source: Source) -> bool:
    """Whether no voxel of a label was seen, and every annotation of it was."""
    annotated = {crop.name for crop in source.crops if name in crop.labels}
    seen = {look.name: look.labels[name].voxels for look in looks if name in look.labels}
    derived = not annotated and bool(source.contains.get(name))
    return bool(looks) and not derived and annotated == seen.keys() and not any(seen.values())


def _of_objects(looks: list[CropLook], config: Config) -> Iterator[Finding]:
    """A patch should hold at least one whole object."""
    patch = config.training.patch
    for name in sorted({label for look in looks for label in look.labels}):
        seen = [look.labels[name].objects for look in looks if name in look.labels]
        reaches = [objects.reach for objects in seen if objects is not None]
        reach = tuple(max((r[k] for r in reaches), default=0) for k in range(3))
        # A network that sees single planes is not meant to see a whole object.
        if any(reach[k] > patch[k] for k in range(3) if k or patch[0] > 1):
            said = (
                f"{name}: 95 % of its objects fit into {reach} voxels (Z, Y, X), which "
                f"training.patch = {patch} does not hold."
            )
            yield Finding(Severity.NOTE, "patch", said)


def _of_grey(looks: list[CropLook]) -> Iterator[Finding]:
    """Crops that do not look like the others."""
    for what, rule, values in (
        ("mean intensity", "intensity", [look.grey.mean for look in looks]),
        ("contrast (SD)", "intensity", [look.grey.spread for look in looks]),
        ("sharpness", "focus", [look.grey.focus for look in looks]),
    ):
        for k in outliers(values):
            typical = sorted(values)[len(values) // 2]
            said = (
                f"{looks[k].name}: its {what} is {values[k]:.4g}, where {typical:.4g} is typical: "
                "was it recorded with the same settings, and in focus?"
            )
            yield Finding(Severity.WARNING, rule, said, looks[k].name)
