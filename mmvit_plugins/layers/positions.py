"""Learned bias of attention by where two tokens of a map stand to each other."""

from collections.abc import Sequence

import torch


def relative_position_bias(
    table: torch.Tensor, made_for: Sequence[int], sides: Sequence[int] | None = None
) -> torch.Tensor:
    """Gather what is added to the products of all pairs of tokens: ``(h, L, L)``.

    Args:
        table: ``((2 H - 1) (2 W - 1), h)``; a query that stands dy rows below and dx
            columns right of the key has the row ``(dy + H - 1) (2 W - 1) + dx + W - 1``.
        made_for: H and W.
        sides: Height and width of the map, of L tokens, if smaller.
    """
    sides = made_for if sides is None else sides
    rows, columns = (
        torch.arange(side, device=table.device)[:, None]
        - torch.arange(side, device=table.device)
        + most
        - 1
        for side, most in zip(sides, made_for, strict=True)
    )
    index = rows[:, None, :, None] * (2 * made_for[1] - 1) + columns[None, :, None]
    places = sides[0] * sides[1]
    return table[index.flatten()].t().reshape(-1, places, places)
