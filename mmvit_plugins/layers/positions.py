"""Learned bias of attention by where two tokens of a map stand to each other."""

from collections.abc import Sequence

import torch


def relative_position_bias(table: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """Gather what is added to the products of all pairs of tokens: ``(h, H W, H W)``.

    Args:
        table (Tensor): ``((2 H - 1) (2 W - 1), h)``: row ``(dy + H - 1) (2 W - 1) + dx + W - 1`` for
            a query that stands dy rows below and dx columns right of the key.
        sides (Sequence[int]): H and W.
    """
    rows, columns = (
        torch.arange(side, device=table.device)[:, None]
        - torch.arange(side, device=table.device)
        + side
        - 1
        for side in sides
    )
    index = rows[:, None, :, None] * (2 * sides[1] - 1) + columns[None, :, None]
    places = sides[0] * sides[1]
    return table[index.flatten()].t().reshape(-1, places, places)
