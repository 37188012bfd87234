"""The public operations, by family: each is a function of tensors and a method of Tensor.

Most are compositions of the differentiable ops in ``ops/``.
"""
