"""Gradients of the operations of `fastconv.nn`, with the names of `torch.nn.grad` where it has them."""

__all__: list[str] = []


def __dir__() -> list[str]:
    return list(__all__)
