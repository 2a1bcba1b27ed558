"""The built-in labels against the published table of classes."""

import csv

from evaluator import parse_labels
from evaluator.cellmap import instance_labels, labels_toml


def test_every_class_has_its_published_id_and_group(real_data):
    with (real_data / "cellmap" / "classes.csv").open() as file:
        published = {
            name: (int(number), tuple(map(int, group.split(","))) if group else ())
            for name, number, group in csv.reader(file)
        }
    built_in = parse_labels(labels_toml())
    assert {name: (label.id, label.contains) for name, label in built_in.items()} == published


def test_the_48_tested_classes_are_built_in(real_data):
    tested = (real_data / "cellmap" / "tested_classes.csv").read_text().split()
    assert len(tested) == 48
    assert set(tested) <= set(parse_labels(labels_toml()))


def test_twelve_names_are_instances_and_one_of_them_has_no_id():
    assert instance_labels() == {
        "nuc", "vim", "ves", "endo", "lyso", "ld", "perox", "mito", "np", "mt", "cell", "instance",
    }  # fmt: skip
    assert instance_labels() - set(parse_labels(labels_toml())) == {"instance"}


def test_groups_consist_of_classes_that_exist():
    built_in = parse_labels(labels_toml())
    ids = {label.id for label in built_in.values()}
    assert all(set(label.contains) <= ids for label in built_in.values())
