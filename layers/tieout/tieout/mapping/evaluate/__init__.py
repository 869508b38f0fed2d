"""Evaluation: record in, fields of the other side out. Pure; raises MappingError and nothing else."""

from tieout.mapping.evaluate.fitting import fitting, written_value
from tieout.mapping.evaluate.links import LinkTo, missing_link
from tieout.mapping.evaluate.readers import Reader, read_constant, read_first, read_item, read_path
from tieout.mapping.evaluate.rules import Each, Evaluated, Group, Leaf, Listed, fields_of
from tieout.mapping.evaluate.scope import Explained, Mapped, Scope
from tieout.mapping.evaluate.words import shown, words, words_of_path

__all__ = [
    "Each",
    "Evaluated",
    "Explained",
    "Group",
    "Leaf",
    "LinkTo",
    "Listed",
    "Mapped",
    "Reader",
    "Scope",
    "fields_of",
    "fitting",
    "missing_link",
    "read_constant",
    "read_first",
    "read_item",
    "read_path",
    "shown",
    "words",
    "words_of_path",
    "written_value",
]
