"""Score classifiers: known sizes, noise from the given source alone, and that they learn."""

import itertools
import time

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from test_sweep import distance, really_stacked
from test_train import same

from vaenb import VaenbError, data, measure, models, train
from vaenb.models.classifiers import dropped
from vaenb.train import Rng


def resnet(width=4):
    return models.resnet18(1, width=width)


def densenet(growth=4):
    return models.densenet121(1, growth=growth)


def digits(side):
    """scikit-learn's digits: images [N, 1, side, side] and labels, to train and to test."""
    ds = data.load("digits", size=side)
    return [torch.from_numpy(a) for a in (ds.train_x, ds.train_y, ds.test_x, ds.test_y)]


def loss(net, batch, hp):
    x, y = batch
    logits = net(x, hp.rng) if isinstance(net, models.classifiers._DigitNet) else net(x)
    return F.cross_entropy(logits, y), {}


def moved(net, batch, hp):
    return loss(net, (models.augment(batch[0], hp.rng), batch[1]), hp)


def fit(make, side, steps, loss=loss, rows=(dict(seed=1),), **options):
    options = dict(batch=16, lr=1e-2, every=5, progress=False, device="cpu") | options
    x, y, _, _ = digits(side)
    if options.pop("double", False):
        x = x.double() / 255
    return train.fit(make, loss, (x, y), list(rows), steps, **options)


# --- the nets -----------------------------------------------------------------------------------


def test_the_known_parameter_counts():
    nets = [models.resnet18(), models.densenet121(), models.digit_net(), models.wide_resnet(),
            models.wide_resnet(depth=16, widen=4)]
    counts = [sum(p.numel() for p in net.parameters()) for net in nets]
    assert counts == [11173962, 6956298, 1199882, 36479194, 2748890]


@pytest.mark.parametrize(("make", "options", "sides"), [
    (models.resnet18, dict(width=2), (28, 32)),
    (models.wide_resnet, dict(depth=10, widen=1), (28, 32)),
    (models.densenet121, dict(growth=2), (28, 32)),
    (models.digit_net, {}, (28,)),
])  # fmt: skip
@pytest.mark.parametrize(("channels", "classes"), [(1, 7), (3, 10)])
def test_images_become_logits(make, options, sides, channels, classes):
    net = make(channels, classes, **options).eval()
    for side in sides:
        x = torch.rand(2, channels, side, side)
        logits = net(x)
        assert logits.shape == (2, classes) and logits.isfinite().all()
        assert not torch.equal(logits[0], logits[1])
        assert torch.allclose(net(x[1:]), logits[1:], atol=1e-5)  # each image for itself


# --- noise --------------------------------------------------------------------------------------


class ByHand:
    """A net's arithmetic from its tensors alone, taken in the order in which they are declared."""

    def __init__(self, net):
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as if trained: nothing at 0 or 1
                for tensor in (module.weight.data, module.bias.data, module.running_var):
                    tensor.uniform_(0.5, 1.5)
                module.running_mean.uniform_(-0.5, 0.5)
        self.left = [t for n, t in net.double().state_dict().items() if "num_batches" not in n]

    def norm(self, x):
        scale, shift, mean, var = (self.left.pop(0)[:, None, None] for _ in range(4))
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def relu(self, x):
        return x * (x > 0)

    def conv(self, x, stride=1):
        kernel = self.left.pop(0)
        return F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def read(self, x):
        weight, bias = self.left.pop(0), self.left.pop(0)
        assert not self.left
        return x.mean((2, 3)) @ weight.T + bias


def test_a_residual_net_by_hand():
    net = models.resnet18(2, width=3).eval()
    by, x = ByHand(net), torch.rand(2, 2, 16, 16, dtype=torch.float64)
    h = by.relu(by.norm(by.conv(x)))
    for k, stride in enumerate((1, 1, 2, 1, 2, 1, 2, 1)):
        inner = by.norm(by.conv(by.relu(by.norm(by.conv(h, stride)))))
        h = by.relu(inner + (by.norm(by.conv(h, stride)) if k and stride == 2 else h))
    torch.testing.assert_close(net(x), by.read(h))


def test_a_wide_residual_net_by_hand():
    net = models.wide_resnet(2, depth=16, widen=1).eval()
    by, x = ByHand(net), torch.rand(2, 2, 8, 8, dtype=torch.float64)
    h = by.conv(x)
    for k, stride in enumerate((1, 1, 2, 1, 2, 1)):
        first = by.relu(by.norm(h))  # before the short cut too where there is a convolution in it
        inner = by.conv(by.relu(by.norm(by.conv(first, stride))))
        h = inner + (by.conv(first, stride) if stride == 2 else h)
        assert h.shape[1] == 16 * 2 ** (k // 2)
    torch.testing.assert_close(net(x), by.read(by.relu(by.norm(h))))


def test_a_dense_net_by_hand():
    net = models.densenet121(2, growth=2).eval()
    by, x = ByHand(net), torch.rand(2, 2, 16, 16, dtype=torch.float64)
    h = by.conv(x)
    for block, count in enumerate((6, 12, 24, 16)):
        if block:
            h = F.avg_pool2d(by.conv(by.relu(by.norm(h))), 2)
        for _ in range(count):
            h = torch.cat([by.conv(by.relu(by.norm(by.conv(by.relu(by.norm(h)))))), h], 1)
    torch.testing.assert_close(net(x), by.read(by.relu(by.norm(h))))


def test_dropping_takes_its_noise_from_the_source_it_is_given():
    net, x = models.digit_net(), torch.rand(3, 1, 28, 28)
    plain = net(x)
    assert torch.equal(net(x), plain) and torch.equal(net.eval()(x), plain)
    net.train()
    state = torch.get_rng_state()
    noisy = net(x, Rng.of(1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    assert torch.equal(net(x, Rng.of(1)), noisy)
    assert not torch.equal(net(x, Rng.of(2)), noisy) and not torch.equal(noisy, plain)


def test_what_isdropped_is_a_quarter_of_the_maps_and_half_of_the_hidden_layer():
    net, seen = models.digit_net(), {}
    for name, part in net.named_children():
        part.register_forward_hook(lambda _, given, out, n=name: seen.update({n: (given[0], out)}))
    net(torch.rand(64, 1, 28, 28), Rng.of(0))
    for before, after, share in (("maps", "hidden", 0.25), ("hidden", "head", 0.5)):
        there = seen[before][1] > 0
        kept = (seen[after][0] / seen[before][1])[there]
        assert torch.allclose(kept[kept > 0], torch.tensor(1 / (1 - share)))
        spread = (share * (1 - share) / there.sum()) ** 0.5
        assert abs((kept == 0).float().mean() - share) < 4 * spread
    ones = torch.ones(5, dtype=torch.float64)
    assert dropped(ones, 0.5, None) is ones and dropped(ones, 0.5, Rng.of(0)).dtype == ones.dtype


def test_an_augmented_image_is_a_shifted_or_mirrored_one():
    image = torch.arange(1.0, 85).view(1, 2, 6, 7)
    padded, known = F.pad(image, (4,) * 4), {}
    for top, left, flip in itertools.product(range(9), range(9), (0, 1)):
        cut = padded[0, :, top : top + 6, left : left + 7]
        known[tuple((cut.flip(2) if flip else cut).flatten().tolist())] = (top, left, flip)
    assert len(known) == 2 * 9**2  # no two of them are equal
    cut = models.augment(image.expand(8100, -1, -1, -1), Rng.of(3))
    found = [known[tuple(row)] for row in cut.flatten(1).tolist()]
    counts = torch.tensor([found.count(place) for place in known.values()])
    assert counts.min() > 0 and stats.chisquare(counts).pvalue > 1e-3


# --- in fit -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "side", "steps", "options"), [
    (resnet, 8, 30, dict(batch=64)),
    (densenet, 8, 30, dict(batch=32)),
    (models.digit_net, 28, 25, dict(lr=2e-3)),
], ids=["resnet", "densenet", "digit_net"])  # fmt: skip
def test_they_learn(make, side, steps, options):
    net = fit(make, side, steps, **options)[0]
    _, _, x, y = digits(side)
    assert (measure.logits(net, x).argmax(1) == y).double().mean() > 0.4  # chance: 0.1


@pytest.mark.parametrize(("make", "side"), [(resnet, 8), (models.digit_net, 28)])
def test_stopped_at_every_step_it_ends_in_the_same_bits(make, side, tmp_path):
    whole, stops = fit(make, side, 4, moved, batch=8), 0
    assert whole.alive == [True]
    while stops < 9:
        try:
            runs = fit(make, side, 4, moved, batch=8, checkpoint=tmp_path,
                       deadline=time.monotonic() - 1)  # fmt: skip
            break
        except train.OutOfTime:
            stops += 1
    assert stops == 3 and same(runs[0], whole[0]) and runs.history == whole.history
    seen = [b for name, b in whole[0].named_buffers() if name.endswith("num_batches_tracked")]
    assert all(b == 4 for b in seen) and len(seen) == (20 if make is resnet else 0)


@pytest.mark.parametrize(("make", "side"), [(lambda: resnet(2), 8), (models.digit_net, 28)])
def test_stacked_or_one_by_one_is_the_same(make, side, monkeypatch):
    rows, widths = [dict(seed=s) for s in (1, 2)], really_stacked(monkeypatch)
    wide, plain = (
        fit(lambda: make().double(), side, 3, moved, rows, chunk=c, batch=4, lr=1e-3, double=True)
        for c in (2, 1)
    )
    assert (2, True) in widths
    for k in range(2):
        assert distance(wide[k], plain[k]) < 1e-10
    assert distance(wide[0], wide[1]) > 0.01


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "said"), [
    (lambda: models.resnet18(width=0), "width is 0 and must be at least 1"),
    (lambda: models.wide_resnet(widen=0), "widen is 0 and must be at least 1"),
    (lambda: models.wide_resnet(depth=12), "depth 12 does not come out even: take 10, 16"),
    (lambda: models.densenet121(growth=-1), "growth is -1 and must be at least 1"),
    (lambda: models.digit_net(classes=0), "classes is 0 and must be at least 1"),
    (lambda: models.digit_net(3)(torch.rand(2, 3, 32, 32)),
     "the small net takes images of 28x28 and these are 32x32: resize them"),
])  # fmt: skip
def test_impossible_sizes(call, said):
    with pytest.raises(VaenbError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)
