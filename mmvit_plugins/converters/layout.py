"""What describes one foreign layout of a module's state dict."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Layout:
    """A foreign layout: how to know it, and how to go from it to ours and back.

    Keys are relative to the module (no ``backbone.`` in front). A conversion passes on a key that
    it does not know, so that whoever loads can report it.

    Attributes:
        name: What to call the layout in reports; its first word is its origin, such as 'official'
            or 'timm'.
        anchor: A key that every file of this layout holds and no file of ours does.
        our_anchor: A key that every state in our layout holds and no foreign one does.
        to_ours: State in this layout -> state in ours. Raises ``ValueError`` where tensors that
            must be equal differ.
        from_ours: State in ours -> the complete state in this layout.
        classifier: Prefix of the linear classifier in a complete model of this layout, if it has
            one beside the backbone's own names.
        base: Prefix of the backbone in a complete model of this layout, whose classifier stands
            beside it, not in it.
        unused: Prefixes of tensors that the network holds but never reads; reports name them.
        hint: What to say of a state (converted to ours) that fits no variant; ``None`` if nothing
            is known.
        belongs: Whether what stands under a prefix of a whole model's state, where an anchor was
            found, is the module's: heads share names with those of the hosts.
    """

    name: str
    anchor: str
    our_anchor: str
    to_ours: Callable[[State], State]
    from_ours: Callable[[State], State]
    classifier: str | None = None
    base: str = ''
    unused: tuple[str, ...] = ()
    hint: Callable[[State], str | None] = lambda state: None
    belongs: Callable[[State, str], bool] = lambda state, prefix: True

    @property
    def anchors(self) -> tuple[str, str]:
        """What a file is known by in either layout."""
        return self.anchor, self.our_anchor
