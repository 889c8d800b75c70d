"""The means of the self-cross attention by power series, against their definition."""

import pytest
import torch
from torch import Tensor

from cityguessr.folded import means
from cityguessr.folded.means import softmax_means


def defined(tilts: Tensor, numbers: Tensor) -> Tensor:
    """sum_j softmax_j(t_i x_j) x_j, written out."""
    weights = (tilts.unsqueeze(3) * numbers[:, None, None]).softmax(dim=3)  # (B, heads, n, d)
    return (weights * numbers[:, None, None]).sum(dim=3)


def with_gradients(function: object, *inputs: Tensor) -> list[Tensor]:
    """The means, and the gradients of a fixed mixture of them."""
    leaves = [part.clone().requires_grad_() for part in inputs]
    result = function(*leaves)
    cotangent = torch.randn(result.shape, generator=torch.Generator().manual_seed(1), dtype=result.dtype)
    return [result.detach(), *torch.autograd.grad(result, leaves, cotangent)]


@pytest.fixture
def series_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other way of computing the means than the series."""
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", None)


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 10.0])
@pytest.mark.usefixtures("series_only")
def test_the_series_is_the_softmax_mean_in_float64(scale: float) -> None:
    torch.manual_seed(0)
    numbers = torch.randn(3, 420, dtype=torch.float64) + 5
    tilts = scale * torch.randn(3, 2, 37, dtype=torch.float64)  # of both signs, as many as one likes
    for series, exact in zip(
        with_gradients(softmax_means, tilts, numbers), with_gradients(defined, tilts, numbers), strict=True
    ):
        assert (series - exact).abs().max() < 1e-12 * max(1, exact.abs().max().item())


@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
@pytest.mark.usefixtures("series_only")
def test_the_series_is_as_exact_in_float32_as_an_attention(scale: float) -> None:
    """Errors of a few roundings of the numbers or of the result, as the definition has them in float32."""
    torch.manual_seed(0)
    numbers, tilts = torch.randn(4, 420, dtype=torch.float64), scale * torch.randn(4, 2, 420, dtype=torch.float64)
    exact = with_gradients(defined, tilts, numbers)
    for series, plain, truth in zip(
        with_gradients(softmax_means, tilts.float(), numbers.float()),
        with_gradients(defined, tilts.float(), numbers.float()),
        exact,
        strict=True,
    ):
        error, allowed = ((part.double() - truth).abs().max() for part in (series, plain))
        assert error < allowed + 2e-7 * max(numbers.abs().max(), truth.abs().max())


@pytest.mark.usefixtures("series_only")
def test_gradients_share_no_error() -> None:
    """Numbers that all move by 1 move each mean by 1, so their gradients add up to the cotangent's sum."""
    torch.manual_seed(0)
    numbers, tilts = torch.randn(16, 420, requires_grad=True), 0.01 * torch.randn(16, 2, 420)
    cotangent = torch.rand(16, 2, 420)
    (gradient,) = torch.autograd.grad(softmax_means(tilts, numbers), numbers, cotangent)
    wanted = cotangent.double().sum(dim=(1, 2))
    assert ((gradient.double().sum(dim=1) - wanted) / wanted).abs().max() < 2e-7


@pytest.mark.usefixtures("series_only")
def test_the_gradients_of_the_series() -> None:
    torch.manual_seed(0)
    tilts = torch.randn(2, 2, 5, dtype=torch.float64, requires_grad=True)
    numbers = torch.randn(2, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(softmax_means, (tilts, numbers))


def test_far_apart_numbers_are_an_attention_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the series would need more nodes than it saves exponentials, and where a number is not finite."""
    monkeypatch.setattr(means._SoftmaxMeans, "apply", None)
    torch.manual_seed(0)
    numbers = 100 * torch.randn(2, 50, dtype=torch.float64)
    tilts = torch.randn(2, 1, 50, dtype=torch.float64)
    assert torch.allclose(softmax_means(tilts, numbers), defined(tilts, numbers), rtol=1e-10)
    for wrong in (float("nan"), float("inf")):
        numbers[0, 3] = wrong
        assert softmax_means(tilts, numbers)[0].isnan().all()


def test_equal_numbers_are_their_own_mean() -> None:
    numbers = torch.full((1, 9), 3.5)
    assert torch.equal(softmax_means(torch.randn(1, 2, 4), numbers), torch.full((1, 2, 4), 3.5))


def test_a_compiler_sees_one_graph() -> None:
    """No branch on a value is taken inside `torch.compile`, where the attention serves."""
    tilts, numbers = torch.randn(2, 2, 20), torch.randn(2, 20)
    compiled = torch.compile(softmax_means, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(tilts, numbers), softmax_means(tilts, numbers), atol=1e-5)
