"""Small data sets with the Hub's own names of columns and classes."""

from datasets import ClassLabel, Dataset


def table(columns, **kinds):
    """A data set with some columns of a kind that their values do not tell, such as labels."""
    rows = Dataset.from_dict(columns)
    for name, kind in kinds.items():
        rows = rows.cast_column(name, kind)
    return rows


def pairs(labels, names="entailment neutral contradiction"):
    """Sentence pairs with labels, by the Hub's names of columns and classes."""
    texts = [f"{i}\r\n" for i in range(len(labels))]
    columns = {"premise": texts, "hypothesis": texts, "label": labels}
    return table(columns, label=ClassLabel(names=names.split()))
