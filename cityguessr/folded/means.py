"""Means under softmax weights of many tilts at once: what the self-cross attention is made of (section 4.3).

A tilt t weighs numbers x_1 ... x_d by exp(t x_j), and the weights add up to 1; their mean is m(t) = sum_j w_j x_j.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

REACH = 2.0
TERMS = {torch.float32: 14, torch.float64: 25}  # highest power of z in exp(z), 0 <= z <= REACH: the rest is rounding


def softmax_means(tilts: Tensor, numbers: Tensor) -> Tensor:
    """m_i = sum_j softmax_j(t_i x_j) x_j: tilts t (B, heads, n) and numbers x (B, d) -> means (B, heads, n).

    That is an attention of width 1, and so a GPU gets it. A processor would spend itself on n times d exponentials.
    There exp(t x) is exp(c x) exp((t - c) x) with c the next of a few nodes, and the last factor a short power series,
    exact to rounding: exponentials of the nodes alone are needed. Where that takes too many nodes, it is an attention
    again.
    """
    if tilts.is_cpu and tilts.dtype in TERMS and not torch.compiler.is_compiling():
        with torch.no_grad():
            spread = numbers.amax(dim=1) - numbers.amin(dim=1)  # (B,)
            reaches = (tilts.abs().amax(dim=(1, 2)) * spread).max().item() / REACH
        if reaches <= numbers.shape[1] / 3:  # neither infinite nor NaN
            return _SoftmaxMeans.apply(tilts, numbers, max(1, math.ceil(reaches)))
    tokens = numbers[:, None, :, None].expand(-1, tilts.shape[1], -1, -1)  # (B, heads, d, 1)
    return F.scaled_dot_product_attention(tilts.unsqueeze(3), tokens, tokens, scale=1.0).squeeze(3)


class _SoftmaxMeans(torch.autograd.Function):
    """`softmax_means` by power series around the nodes of so many cells.

    Distances y <= 0 are taken from the largest number for tilts t >= 0 and from the smallest for t < 0 (the two sides),
    so that weights exp(|t| y) are at most 1 and one of them is. A node is the upper end of its cell, so that every term
    of the series is positive and none cancel. Sums are formed in
    float64: a variance is a difference of two of them, and an error that all gradients share would not average out.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, tilts: Tensor, numbers: Tensor, cells: int) -> Tensor:
        dtype, terms = tilts.dtype, TERMS[tilts.dtype]
        tilts, numbers = tilts.double(), numbers.double()
        low, high = numbers.aminmax(dim=1, keepdim=True)  # (B, 1)
        y = torch.stack((numbers - high, low - numbers), dim=1)  # (B, 2, d)
        steep = tilts.abs().flatten(1)  # (B, heads * n)
        width = steep.amax(dim=1, keepdim=True).clamp(min=torch.finfo(tilts.dtype).tiny) / cells
        cell = (steep / width).long().clamp_(max=cells - 1)
        nodes = (torch.arange(1, cells + 1) * width).to(dtype)  # (B, cells)
        offset = steep - nodes.double().gather(1, cell)  # (B, heads * n), <= 0
        place = (cell + cells * (tilts < 0).flatten(1)).unsqueeze(1)  # (B, 1, heads * n): which of 2 cells nodes

        scores = (nodes / math.log(2))[:, None, :, None] * y.to(dtype).unsqueeze(2)  # (B, 2, cells, d)
        weights = scores.clamp_(min=-100).exp2_()  # 2^x takes a third of the time of e^x; none is denormal
        powers = _powers(y, terms + 2)  # (B, 2, terms + 3, d)
        moments = (powers @ weights.double().mT).transpose(1, 2).flatten(2)  # (B, terms + 3, 2 cells)
        moments = moments.gather(2, place.expand(-1, terms + 3, -1))  # (B, terms + 3, heads * n)
        series = _powers(offset, terms) * _inverse_factorials(terms)  # (B, terms + 1, heads * n)
        sums = [(moments[:, k : k + terms + 1] * series).sum(dim=1).view_as(tilts) for k in range(3)]
        total, mean, square = sums[0], sums[1] / sums[0], sums[2] / sums[0]  # of y
        variance = square - mean * mean
        ctx.save_for_backward(tilts, total, mean, variance, series, place, weights, y.to(dtype), powers.to(dtype))
        return torch.where(tilts < 0, low.unsqueeze(1) - mean, high.unsqueeze(1) + mean).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """With weights w: dm_i / dt_i is the variance under w_i, and dm_i / dx_j is w_ij (1 + |t_i| (y_j - mean_i))."""
        tilts, total, mean, variance, series, place, weights, y, powers = ctx.saved_tensors
        terms = series.shape[1]
        dtype, gradient = gradient.dtype, gradient.double()
        slope = gradient * tilts.abs()
        columns = torch.stack(((gradient - slope * mean) / total, slope / total), dim=1).flatten(2)  # (B, 2, heads * n)
        parts = (columns.unsqueeze(2) * series.unsqueeze(1)).flatten(1, 2)  # (B, 2 terms, heads * n)
        gathered = parts.new_zeros(*parts.shape[:2], 2 * weights.shape[2])
        gathered.scatter_add_(2, place.expand(-1, 2 * terms, -1), parts)
        back = gathered.to(dtype).unflatten(2, (2, -1)).transpose(1, 2) @ weights  # (B, 2, 2 terms, d)
        back = (back.unflatten(2, (2, terms)) * powers[:, :, None, :terms]).sum(dim=3)  # (B, 2, 2, d)
        return (gradient * variance).to(dtype), (back[:, :, 0] + y * back[:, :, 1]).sum(dim=1), None


def _powers(x: Tensor, highest: int) -> Tensor:
    """(..., n) -> (..., highest + 1, n): 1, x, x^2 and so on."""
    powers = x.new_ones(*x.shape[:-1], highest + 1, x.shape[-1])
    for k in range(highest):
        torch.mul(powers[..., k, :], x, out=powers[..., k + 1, :])
    return powers


def _inverse_factorials(highest: int) -> Tensor:
    """1 / 0!, 1 / 1!, 1 / 2! and so on, (highest + 1, 1)."""
    return torch.tensor([[1 / math.factorial(k)] for k in range(highest + 1)], dtype=torch.float64)
