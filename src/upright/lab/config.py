"""What `upright lab build` can be told."""
from dataclasses import dataclass
@dataclass(frozen=True)
class Shape:
    hidden:int=128
    mlp:int=2048
    layers:int=4
    heads:int=4
    context:int=512
    vocabulary:int=4096
