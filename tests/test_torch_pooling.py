"""Pooling, its gradients, unpooling and folding against PyTorch's, over sampled combinations of arguments."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from fastconv import nn

SP = ("NCW", "NCHW", "NCDHW"), ("NWC", "NHWC", "NDHWC")

if importlib.util.find_spec("torch") is not None:
    import pytest
    import torch
    import torch.nn.functional as F

    ROUNDING = {"float64": 1e-12, "float32": 2e-6}

    def draw(rng: np.random.Generator, low: int, high: int, n: int) -> tuple[int, ...]:
        return tuple(int(v) for v in rng.integers(low, high + 1, n))

    def one_or_all(rng: np.random.Generator, values: tuple[int, ...]) -> Any:
        """A tuple, or one number for all."""
        return values[0] if rng.integers(2) else values

    def made(argument: Any, n: int) -> tuple[int, ...]:
        return (argument,) * n if isinstance(argument, int) else tuple(argument)

    def sample(
        rng: np.random.Generator, n: int, dtype: str, least: tuple[int, ...], special: bool = True
    ) -> np.ndarray:
        """A batch, or one image, of random numbers or many ties, some not finite."""
        size = tuple(max(m, k) for m, k in zip(draw(rng, 1, (40, 15, 8)[n - 1], n), least, strict=True))
        shape = (*draw(rng, 1, 3, int(rng.integers(1, 3))), *size)
        x = rng.standard_normal(shape) if rng.integers(2) else rng.integers(-3, 4, shape).astype(float)
        if special and rng.integers(3) == 0:
            x.reshape(-1)[rng.integers(0, x.size, 4)] = [np.nan, np.nan, np.inf, -np.inf]
        return x.astype(dtype)

    def both_layouts(rng: np.random.Generator, x: np.ndarray, n: int) -> tuple[np.ndarray, dict[str, str]]:
        """The array channels first, or last and told so; sometimes a view in steps."""
        if rng.integers(2):
            return x, {}
        last = np.ascontiguousarray(np.moveaxis(x, -n - 1, -1))
        if rng.integers(2):
            wide = np.zeros((*last.shape[:-1], 2 * last.shape[-1]), last.dtype)[..., ::2]
            wide[...] = last
            last = wide
        return last, {"data_format": SP[1][n - 1]}

    def same(actual: Any, desired: Any, n: int, options: dict, dtype: str, exact: bool, context: str = "") -> None:
        """Compare a result in the caller's layout with PyTorch's."""
        desired = desired.detach().numpy()
        actual = np.moveaxis(actual, -1, -n - 1) if options else actual
        assert actual.shape == desired.shape and actual.dtype == desired.dtype, context
        if exact:
            np.testing.assert_array_equal(actual, desired, context)
        else:
            tolerance = ROUNDING[dtype]
            np.testing.assert_allclose(actual, desired, rtol=20 * tolerance, atol=20 * tolerance, err_msg=context)

    def window(rng: np.random.Generator, n: int) -> dict[str, Any]:
        kernel = one_or_all(rng, draw(rng, 1, 4, n))
        pads = tuple(int(rng.integers(0, k // 2 + 1)) for k in made(kernel, n))
        options = {
            "kernel_size": kernel,
            "padding": pads if rng.integers(2) else min(pads),
            "ceil_mode": bool(rng.integers(2)),
        }
        if rng.integers(2):
            options["stride"] = one_or_all(rng, draw(rng, 1, 3, n))
        return options

    def spans(options: dict[str, Any], n: int) -> tuple[int, ...]:
        kernel, dilation = made(options["kernel_size"], n), made(options.get("dilation", 1), n)
        return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_max_pool(n, dtype, agreed):
        rng, pool, grad = (
            np.random.default_rng(n),
            getattr(nn, f"max_pool{n}d"),
            getattr(nn.grad, f"max_pool{n}d_backward"),
        )
        for _ in range(150):
            options = window(rng, n)
            options["dilation"] = one_or_all(rng, draw(rng, 1, 2, n))
            x = sample(rng, n, dtype, spans(options, n))
            tensor = torch.from_numpy(x.copy()).requires_grad_()
            best, where = getattr(F, f"max_pool{n}d")(tensor, **options, return_indices=True)
            given, layout = both_layouts(rng, x, n)
            same(pool(given, **options, **layout), best, n, layout, dtype, True, str(options))
            values, places = pool(given, **options, **layout, return_indices=True)
            same(values, best, n, layout, dtype, True, str(options))
            same(places, where, n, layout, dtype, True, str(options))
            weights = rng.standard_normal(best.shape).astype(dtype)
            if not np.isin(-1, places):
                best.backward(torch.from_numpy(weights))
                g = np.ascontiguousarray(np.moveaxis(weights, -n - 1, -1)) if layout else weights
                same(grad(g, places, given.shape, **layout), tensor.grad, n, layout, dtype, False, str(options))
            agreed("max_pool", 4)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_avg_pool(n, dtype, agreed):
        rng, pool, grad = (
            np.random.default_rng(n),
            getattr(nn, f"avg_pool{n}d"),
            getattr(nn.grad, f"avg_pool{n}d_backward"),
        )
        for _ in range(200):
            options = window(rng, n) | {"count_include_pad": bool(rng.integers(2))}
            if n > 1 and rng.integers(3) == 0:
                options["divisor_override"] = int(rng.integers(1, 9))
            x = sample(rng, n, dtype, spans(options, n))
            tensor = torch.from_numpy(x.copy()).requires_grad_()
            average = getattr(F, f"avg_pool{n}d")(tensor, **options)
            given, layout = both_layouts(rng, x, n)
            same(pool(given, **options, **layout), average, n, layout, dtype, False, str(options))
            weights = rng.standard_normal(average.shape).astype(dtype)
            average.backward(torch.from_numpy(weights))
            g = np.ascontiguousarray(np.moveaxis(weights, -n - 1, -1)) if layout else weights
            same(grad(g, given.shape, **options, **layout), tensor.grad, n, layout, dtype, False, str(options))
            agreed("avg_pool", 2)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_lp_pool(n, dtype, agreed):
        rng, pool, grad = (
            np.random.default_rng(n),
            getattr(nn, f"lp_pool{n}d"),
            getattr(nn.grad, f"lp_pool{n}d_backward"),
        )
        for _ in range(100):
            options = window(rng, n)
            del options["padding"]
            if n == 1:  # PyTorch takes no tuple there
                options["kernel_size"] = made(options["kernel_size"], 1)[0]
            power = rng.choice([1, 2.0, 3, 2.5, 0.7, -1.5, np.inf])
            x = sample(rng, n, dtype, spans(options, n))
            x = np.abs(x) + (0.1 if power not in (2.0, np.inf) else 0)
            tensor = torch.from_numpy(x.copy()).requires_grad_()
            desired = getattr(F, f"lp_pool{n}d")(tensor, float(power), **options)
            given, layout = both_layouts(rng, x, n)
            result = pool(given, power, **options, **layout)
            same(result, desired, n, layout, dtype, False, f"{power} {options}")
            weights = rng.standard_normal(desired.shape).astype(dtype)
            agreed("lp_pool")
            if np.isfinite(x).all() and np.isfinite(power):
                desired.backward(torch.from_numpy(weights))
                g = np.ascontiguousarray(np.moveaxis(weights, -n - 1, -1)) if layout else weights
                actual = grad(g, given, result, power, **options, **layout)
                actual = np.moveaxis(actual, -1, -n - 1) if layout else actual
                wanted = tensor.grad.numpy()
                scale = np.abs(wanted).max()
                np.testing.assert_allclose(
                    actual, wanted, rtol=100 * ROUNDING[dtype], atol=100 * ROUNDING[dtype] * scale
                )
                agreed("lp_pool")

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_adaptive_pools(n, dtype, agreed):
        rng = np.random.default_rng(n)
        for _ in range(120):
            x = sample(rng, n, dtype, (1,) * n)
            size: Any = tuple(int(rng.integers(1, m + 3)) for m in x.shape[-n:])
            if rng.integers(3) == 0:
                size = 1
            elif n > 1 and rng.integers(3) == 0:
                size = (None, *size[1:])
            given, layout = both_layouts(rng, x, n)
            for kind in ("avg", "max"):
                tensor = torch.from_numpy(x.copy()).requires_grad_()
                name = f"adaptive_{kind}_pool{n}d"
                indices: dict[str, Any] = {"return_indices": True} if kind == "max" else {}
                desired = getattr(F, name)(tensor, size if n > 1 or size == 1 else size[0], **indices)
                result = getattr(nn, name)(given, size, **layout, **indices)
                if kind == "max":
                    same(result[1], desired[1], n, layout, dtype, True, str(size))
                    same(getattr(nn, name)(given, size, **layout), desired[0], n, layout, dtype, True, str(size))
                    result, places, desired = result[0], result[1], desired[0]
                same(result, desired, n, layout, dtype, kind == "max", str(size))
                weights = rng.standard_normal(desired.shape).astype(dtype)
                desired.backward(torch.from_numpy(weights))
                g = np.ascontiguousarray(np.moveaxis(weights, -n - 1, -1)) if layout else weights
                args = (g, places, given.shape) if kind == "max" else (g, given.shape)
                actual = getattr(nn.grad, f"{name}_backward")(*args, **layout)
                same(actual, tensor.grad, n, layout, dtype, False, str(size))
                agreed(f"adaptive_{kind}_pool", 2 + 2 * (kind == "max"))

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("n", [2, 3])
    def test_fractional_pool(n, dtype, agreed):
        rng, name = np.random.default_rng(n), f"fractional_max_pool{n}d"
        for _ in range(100):
            kernel = draw(rng, 1, 3, n)
            x = sample(rng, n, dtype, tuple(k + 1 for k in kernel))
            x = x if x.ndim == n + 2 else x[None]  # PyTorch takes no samples for one image but of a batch
            most = 2 if n == 2 else 1  # PyTorch wants one position more of solids
            size = tuple(int(rng.integers(1, m - k + most)) for m, k in zip(x.shape[2:], kernel, strict=True))
            samples = rng.random((*x.shape[:2], n)).astype(dtype)
            tensor = torch.from_numpy(x.copy()).requires_grad_()
            arguments = {"kernel_size": kernel, "output_size": size, "return_indices": True}
            best, where = getattr(F, name)(tensor, **arguments, _random_samples=torch.from_numpy(samples))
            given, layout = both_layouts(rng, x, n)
            values, places = getattr(nn, name)(given, **arguments, **layout, _random_samples=samples)
            same(values, best, n, layout, dtype, True, str(arguments))
            same(places, where, n, layout, dtype, True, str(arguments))
            weights = rng.standard_normal(best.shape).astype(dtype)
            best.backward(torch.from_numpy(weights))
            g = np.moveaxis(weights, -n - 1, -1) if layout else weights
            actual = getattr(nn.grad, f"{name}_backward")(g, places, given.shape, **layout)
            same(actual, tensor.grad, n, layout, dtype, False, str(arguments))
            agreed("fractional_max_pool", 3)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_unpool(n, dtype, agreed):
        rng, name = np.random.default_rng(n), f"max_unpool{n}d"
        for _ in range(100):
            options: dict[str, Any] = {"kernel_size": draw(rng, 2, 3, n), "stride": draw(rng, 2, 3, n)}
            x = sample(rng, n, dtype, spans(options, n))
            pooled, where = getattr(F, f"max_pool{n}d")(torch.from_numpy(x), **options, return_indices=True)
            tensor = pooled.clone().requires_grad_()
            if rng.integers(2):
                options["output_size"] = x.shape[-n:]
            elif x.shape[-n:] != F._unpool_output_size(
                x[None, None] if 0 else tensor, *options.values(), [0] * n, None
            ):
                continue
            desired = getattr(F, name)(tensor, where, **options)
            given, layout = both_layouts(rng, pooled.numpy(), n)
            places = np.moveaxis(where.numpy(), -n - 1, -1) if layout else where.numpy()
            same(getattr(nn, name)(given, places, **options, **layout), desired, n, layout, dtype, True, str(options))
            weights = rng.standard_normal(desired.shape).astype(dtype)
            desired.backward(torch.from_numpy(weights))
            g = np.moveaxis(weights, -n - 1, -1) if layout else weights
            actual = getattr(nn.grad, f"{name}_backward")(g, places, **layout)
            if len(np.unique(where.numpy().reshape(where.shape[0], -1), axis=None)) and all(
                len(np.unique(w)) == w.size for w in where.numpy().reshape(-1, int(np.prod(where.shape[-n:])))
            ):
                same(actual, tensor.grad, n, layout, dtype, True, str(options))
            agreed("max_unpool", 2)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_unfold_and_fold(dtype, agreed):
        rng = np.random.default_rng(5)
        for _ in range(250):
            options = {
                "kernel_size": one_or_all(rng, draw(rng, 1, 4, 2)),
                "dilation": one_or_all(rng, draw(rng, 1, 2, 2)),
                "padding": one_or_all(rng, draw(rng, 0, 3, 2)),
                "stride": one_or_all(rng, draw(rng, 1, 3, 2)),
            }
            x = sample(rng, 2, dtype, spans(options, 2))
            columns = F.unfold(torch.from_numpy(x), **options)
            given, layout = both_layouts(rng, x, 2)
            result = nn.unfold(given, **options, **layout)
            same(np.swapaxes(result, -1, -2) if layout else result, columns, 1, {}, dtype, True, str(options))
            folded = F.fold(columns, x.shape[-2:], **options)
            back = nn.fold(result, x.shape[-2:], **options, **layout)
            same(back, folded, 2, layout, dtype, False, str(options))
            agreed("unfold and fold", 2)
