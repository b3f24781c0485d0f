"""The image VAE with a PixelCNN: sizes, who may see what, exact masses, samples, training."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from test_train import same
from torch import distributions as dist
from torch import nn

from vaenb import VaenbError, models, train
from vaenb.models import pixelcnn
from vaenb.models.conv import Nats
from vaenb.models.pixelcnn import pixel_cnn, pixel_vae, resnet_encoder
from vaenb.train import Rng

KERNELS = (5, 3, 3, 3, 1)
Z = 2


def count(module):
    return sum(p.numel() for p in module.parameters())


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lively(module):
    """In float64, evaluation mode, with batch norms that are not trivial."""
    torch.manual_seed(1)
    for m in module.double().modules():
        if isinstance(m, nn.BatchNorm2d):
            for tensor in (m.weight, m.bias, m.running_mean):
                nn.init.normal_(tensor, 0.2, 0.5)
            nn.init.uniform_(m.running_var, 0.5, 2)
    return module.eval()


def net(side=3, latents=Z, kernels=KERNELS):
    torch.manual_seed(0)
    return lively(pixel_cnn(latents, 6, 3, kernels, (1, side, side)))


def vae(side=8):
    return lively(pixel_vae(Z, 6, 3, 8, KERNELS, (1, side, side)))


def binary(n, side=8):
    return (randn(n, 1, side, side, seed=9) > 0.3).double()


def every_image(side):
    pixels = itertools.product((0.0, 1.0), repeat=side * side)
    return torch.tensor(list(pixels), dtype=torch.float64).view(-1, 1, side, side)


# --- sizes --------------------------------------------------------------------------------------


def test_the_counts_of_the_authors_code():
    model = pixel_vae()
    assert count(model.encoder) == count(resnet_encoder()) == 752448
    assert count(model.decoder) == count(pixel_cnn(32)) == 894400
    assert count(model.decoder.of_z[0]) == 103488 and count(pixel_cnn()) == 778368
    biases = {name for name, p in model.named_parameters() if name.endswith("bias")}
    linear = {"encoder.7.bias", "decoder.of_z.0.bias"}
    for name in biases - linear:
        assert isinstance(model.get_submodule(name.rpartition(".")[0]), nn.BatchNorm2d)
    assert linear < biases and len(model.decoder.skips) == 11 and len(model.decoder.layers) == 12
    assert [b.body[3].kernel_size[0] for b in model.decoder.layers] == list(pixelcnn.KERNELS[1:])


def test_shapes_of_28x28_and_the_encoders_sides():
    model, sides, h = pixel_vae(5, 4, 2, 8), [], torch.rand(3, 1, 28, 28).round()
    nats = model(h, Rng.of(0))
    assert isinstance(nats, Nats) and nats.out.shape == (3, 1, 28, 28) and nats.z.shape == (3, 5)
    assert nats.distortion.shape == nats.rate.shape == (3,) and len(nats.rates) == 1
    for layer in model.encoder[:4]:
        h = layer(h)
        sides.append(h.shape[2])
    assert sides == [14, 7, 4, 1]
    assert resnet_encoder(5, 4, 8, (3, 32, 32))(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_the_start_is_the_authors():
    torch.manual_seed(0)
    decoder, encoder = pixel_cnn(8), resnet_encoder()
    for conv in (decoder.of_x, decoder.of_z[2], decoder.layers[0].body[3], encoder[0].body[3]):
        k, outputs = conv.kernel_size[0], conv.out_channels
        expected, n = math.sqrt(2 / (k * k * outputs)), conv.weight.numel()
        assert abs(conv.weight.std() / expected - 1) < 4.5 / math.sqrt(2 * n)
    for linear in (decoder.of_z[0], encoder[-1]):
        bound = math.sqrt(6 / (linear.in_features + linear.out_features))
        assert 0.98 * bound < linear.weight.abs().max() <= bound and not linear.bias.any()
    assert decoder.last[3].weight.abs().max() <= 1 / 8  # torch's own: not sqrt(2) wide


# --- who sees what ------------------------------------------------------------------------------


def paths(side, kernels):
    """[out, in]: whether a chain of taps leads from a pixel to a logit, by walking the grid."""
    def taps(kernel, middle):
        found, half = torch.zeros(side**2, side**2, dtype=torch.bool), kernel // 2
        for i, j, a, b in itertools.product(range(side), repeat=4):
            near = abs(a - i) <= half and abs(b - j) <= half
            before = (a, b) < (i, j) or middle and (a, b) == (i, j)
            found[i * side + j, a * side + b] = near and before
        return found.double()

    reach = taps(kernels[0], False)
    for kernel in kernels[1:]:
        reach = taps(kernel, True) @ reach
    return reach > 0


@pytest.mark.parametrize(("side", "kernels"), [(4, (7, 3, 3)), (5, (7, 3, 3)), (6, (3, 1, 1))])
def test_a_logit_sees_the_pixels_before_it_and_all_of_z(side, kernels):
    model, x, z = net(side, kernels=kernels), randn(1, 1, side, side), randn(1, Z, seed=1)
    of_x, of_z = torch.autograd.functional.jacobian(model, (x, z))
    seen = of_x.view(side**2, side**2) != 0
    expected = paths(side, kernels)
    assert torch.equal(seen, expected) and not seen.triu().any()
    everything = torch.ones_like(seen).tril(-1)  # else the masks have a blind spot on the right
    assert torch.equal(seen, everything) == (side == 4) and seen.any()
    assert (of_z != 0).all()


def test_a_masked_convolution_is_torchs_with_zeros_and_leaves_masked_weights_alone():
    for middle in (False, True):
        conv, x = pixelcnn._Causal(2, 3, 5, middle).double(), randn(2, 2, 7, 7)
        mask = torch.zeros(5, 5, dtype=torch.float64)
        mask[:2], mask[2, : 2 + middle] = 1, 1
        whole = nn.functional.conv2d(x, conv.weight * mask, padding=2)
        assert torch.allclose(conv(x), whole, atol=1e-12)
        conv(x).square().sum().backward()
        assert torch.equal(conv.weight.grad != 0, mask.bool().expand(3, 2, 5, 5))
        assert f"mask={'AB'[middle]}" in repr(conv)


def test_long_skips_join_the_layer_three_further_on():
    """Written out for six layers: 4, 5 and 6 get 1, 2 and 3, the end gets 4."""
    model, x, z = net(kernels=(3,) * 6), binary(4, 3), randn(4, Z)
    assert len(model.skips) == 4
    h = torch.cat([x, model.of_z[:2](z)], 1)  # five channels, the first masked
    mask = torch.ones(1, 5, 3, 3, dtype=torch.float64)
    mask[:, 0, 1, 1:], mask[:, 0, 2] = 0, 0
    weight = torch.cat([model.of_x.weight, model.of_z[2].weight], 1) * mask
    one = model.first(nn.functional.conv2d(h, weight, padding=1))
    two = model.layers[0](one)
    three = model.layers[1](two)
    four = model.layers[2](three + model.skips[0](one))
    five = model.layers[3](four + model.skips[1](two))
    six = model.layers[4](five + model.skips[2](three))
    assert torch.allclose(model(x, z), model.last(six + model.skips[3](four)), atol=1e-12)


# --- likelihoods --------------------------------------------------------------------------------


def test_masses_of_all_images_sum_to_one():
    x = every_image(3)
    for z in (randn(1, Z), 3 * randn(1, Z, seed=1)):
        log_p = net().log_prob(x, z.expand(len(x), -1))
        assert log_p.shape == (512,) and abs(log_p.exp().sum() - 1) < 1e-12
        assert log_p.max() - log_p.min() > 1
    assert abs(net(latents=0).log_prob(x).exp().sum() - 1) < 1e-12


def test_the_baseline_is_the_net_that_hears_nothing_of_z():
    with_z, without, x = net(), net(latents=0), binary(4, 3)
    nn.init.zeros_(with_z.of_z[2].weight)
    without.load_state_dict({n: t for n, t in with_z.state_dict().items() if "of_z" not in n})
    assert torch.allclose(with_z.log_prob(x, randn(4, Z)), without.log_prob(x), rtol=1e-12)


def test_forward_is_the_sum_of_its_parts():
    model, x = vae(), binary(4)
    nats = model(x, Rng.of(7))
    mean, log_variance = model.encoder(x).chunk(2, -1)
    q = dist.Normal(mean, (log_variance / 2).exp())
    assert torch.allclose(nats.z, mean + q.stddev * Rng.of(7).normal(4, Z, dtype=x.dtype))
    assert torch.equal(nats.posterior.mean, mean) and torch.equal(model.code(x), mean)
    rate = dist.kl_divergence(q, dist.Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(nats.rate, rate, rtol=1e-10)
    pixels = dist.Bernoulli(logits=nats.out).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(-nats.distortion, pixels, rtol=1e-10)
    assert torch.allclose(model.log_prob(x, nats.z), pixels, rtol=1e-10)
    prior = dist.Normal(0.0, 1.0).log_prob(nats.z).sum(1)
    assert torch.allclose(model.log_joint(x, nats.z), pixels + prior, rtol=1e-10)
    assert torch.equal(model.prior_code(3, Rng.of(1)), Rng.of(1).normal(3, Z, dtype=x.dtype))


def test_several_codes_an_image_are_a_loop_in_chunks_of_any_size(monkeypatch):
    model, x, z = vae(), binary(4), 2 * randn(4, 5, Z)
    loop = torch.stack([model.log_prob(x, z[:, s]) for s in range(5)], 1)
    assert loop.std(1).min() > 1e-3
    for rows in (1, 8, 9, 100):
        monkeypatch.setattr("vaenb.models.pixelcnn.ROWS", rows)
        assert torch.allclose(model.log_prob(x, z), loop, rtol=1e-12)
    prior = models.standard_normal_log_prob(z)
    assert torch.allclose(model.log_joint(x, z), loop + prior, rtol=1e-12)


def test_batch_norm_looks_at_the_batch_in_training_alone():
    model, x, z = vae(), binary(6), randn(6, Z)
    whole = model.log_prob(x, z)
    assert torch.allclose(whole[:2], model.log_prob(x[:2], z[:2]), rtol=1e-12)
    assert not model.decoder.first[0].num_batches_tracked
    model.train()
    assert not torch.allclose(model.log_prob(x, z)[:2], model.log_prob(x[:2], z[:2]), rtol=1e-3)
    assert model.decoder.first[0].num_batches_tracked == 2
    h = model.decoder.first[0](model.decoder.of_x(x) + model.decoder.of_z(z))
    weight, bias = model.decoder.first[0].weight, model.decoder.first[0].bias
    assert torch.allclose(h.mean((0, 2, 3)), bias, atol=1e-6)
    assert torch.allclose(h.std((0, 2, 3)), weight.abs(), rtol=1e-2)
    model(x, Rng.of(0)).distortion.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.decoder.parameters())


# --- samples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("latents", [0, Z])
def test_samples_have_their_exact_frequencies(latents):
    from scipy.stats import chisquare

    model, every, n = net(2, latents), every_image(2), 5000
    z = randn(1, Z) if latents else None
    p = model.log_prob(every, z if z is None else z.expand(16, -1)).exp().detach()
    x = model.sample(n, Rng.of(0), z if z is None else z.expand(n, -1))
    assert x.shape == (n, 1, 2, 2)
    place = (x.flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)).long()
    found = place.bincount(minlength=16)
    assert p.min() * n > 5 and chisquare(found, p * n).pvalue > 1e-3
    assert chisquare(found, torch.full_like(p, n / 16)).pvalue < 1e-6
    assert chisquare(found, p.flip(0) * n).pvalue < 1e-6


def test_samples_are_the_rngs_alone_pixel_by_pixel():
    model, z = vae(), randn(3, Z)
    x = model.sample(z, Rng.of(4))
    torch.manual_seed(5)
    assert torch.equal(x, model.sample(z, Rng.of(4))) and set(x.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(x, model.sample(z, Rng.of(5)))
    u = Rng.of(4).uniform(3, 1, 8, 8, dtype=z.dtype)  # by whole images, and all pixels at once
    assert torch.equal(x, (u < model.decoder(x, z).sigmoid()).to(x.dtype))


# --- training -----------------------------------------------------------------------------------


def loss(model, x, hp):
    nats = model(hp.rng.bernoulli(x), hp.rng)
    return (nats.distortion + hp.beta * nats.rate).mean(), dict(R=nats.rate.mean())


def baseline(model, x, hp):
    return -model.log_prob(hp.rng.bernoulli(x)).mean() + 0 * hp.beta, {}


def make():
    return pixel_vae(Z, 4, 2, 6, (3, 3, 3, 1), (1, 4, 4)).double()


def make_baseline():
    return pixel_cnn(0, 4, 2, (3, 3, 3, 1), (1, 4, 4)).double()


@pytest.mark.parametrize(("make", "loss"), [(make, loss), (make_baseline, baseline)])
def test_stacked_is_one_by_one(make, loss, capsys):
    rows = [dict(beta=b, seed=s) for b, s in ((0.5, 0), (1.0, 1))]

    def go(chunk):
        return train.fit(make, loss, randn(24, 1, 4, 4).sigmoid(), rows, 5, batch=8, every=5,
                         lr=3e-3, chunk=chunk, progress=True, device="cpu")

    wide, plain = go(2), go(1)
    assert "2 members, 2 at a time: as asked" in capsys.readouterr().out
    for a, b in zip(wide.models, plain.models, strict=True):
        ours, theirs = (torch.cat([t.double().flatten() for t in m.state_dict().values()])
                        for m in (a, b))
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-10
    torch.manual_seed(0)
    assert not same(wide[0], make())


def test_it_learns_to_put_its_nats_into_z_or_not():
    x = torch.tensor([0.0, 1.0])[torch.arange(32) % 2].view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    rows = [dict(beta=b, seed=0) for b in (0.0, 4.0)]
    runs = train.fit(lambda: make().float(), loss, x.contiguous(), rows, 60, batch=16, lr=1e-2,
                     progress=False, chunk=1, device="cpu")
    free, dear = (history["R"][-1] for history in runs.history)
    assert free > 5 * dear
    with torch.no_grad():
        assert runs[0](x, Rng.of(0)).distortion.mean() < 2  # of 16 log 2 = 11


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "words"), [
    (dict(image=(1, 28, 32)), "images are 28x32 and must be square: resize them"),
    (dict(image=(3, 28, 28)), "channels=3 must be 1"),
    (dict(image=(1, 0, 0)), "side is 0 and must be at least 1"),
    (dict(latents=0), "latents is 0 and must be at least 1"),
    (dict(width=0), "width is 0"), (dict(bottleneck=0), "bottleneck is 0"),
    (dict(hidden=-1), "hidden is -1"),
    (dict(kernels=(7, 4, 3)), r"kernels are \(7, 4, 3\) and must be odd sizes"),
    (dict(kernels=(7, 3)), "at least three of them"),
])  # fmt: skip
def test_impossible_sizes(change, words):
    with pytest.raises(VaenbError, match=words):
        pixel_vae(**change)
    if "latents" in change:
        with pytest.raises(VaenbError, match="latents=-1 at least 0"):
            pixel_cnn(-1)


def test_wrong_images_codes_and_modes():
    model, alone, x, z = vae(), net(8, 0), binary(2), randn(2, Z)
    with pytest.raises(VaenbError, match="images are 1x5x5 and this net was made for 1x8x8"):
        model.log_prob(binary(2, 5), z)
    with pytest.raises(VaenbError, match="takes codes of 2 numbers and one of 3 was given"):
        model.log_prob(x, randn(2, 3))
    with pytest.raises(VaenbError, match="takes codes of 2 numbers and none was given"):
        model.decoder.log_prob(x)
    with pytest.raises(VaenbError, match="takes codes of 0 numbers and one of 2 was given"):
        alone.log_prob(x, z)
    assert model.decode is None  # the measures ask
    model.train()
    with pytest.raises(VaenbError, match="sampling needs batch norm's running averages: call mod"):
        model.sample(z, Rng.of(0))
    with pytest.raises(VaenbError, match="several codes an image needs? batch norm"):
        model.log_prob(x, z[:, None])


def test_the_residual_blocks_of_the_pixelcnn_are_written_out():
    h, x = randn(2, 6, 3, 3), randn(2, 1, 8, 8)
    block = net().layers[0]
    assert torch.allclose(block(h), F.elu(block.body(h) + h))
    block = vae().encoder[0]
    assert torch.allclose(block(x), F.elu(block.body(x) + block.short(x)))
