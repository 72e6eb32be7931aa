"""What lies inside of data sets that repeat, filter or join others, at any depth."""

from collections.abc import Iterator, Mapping
from typing import Any


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """Yield the built data sets that hold samples themselves; one that wraps none is its own leaf.

    Args:
        dataset: Of any host, as ``RepeatDataset`` (``dataset``) or ``ConcatDataset`` (``datasets``)
            of mmengine or torch.
    """
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        yield dataset
    else:
        for child in inner:
            yield from leaf_datasets(child)


def leaf_configs(config: Mapping) -> Iterator[Mapping]:
    """Yield the configs of the data sets that hold samples themselves, as they are: no copies.

    Args:
        config: Of a data set, which may repeat (``dataset``) or join (``datasets``) others, or of a
            data loader. Data sets in it that have been built are left out.
    """
    inner = [config['dataset']] if config.get('dataset') else config.get('datasets')
    if not inner:
        yield config
    else:
        for child in inner:
            if isinstance(child, Mapping):
                yield from leaf_configs(child)
