"""Score classifiers: known sizes, noise from the given source alone, and that they learn."""

import itertools

import pytest
import torch
from torch import nn

from vaenb import VaenbError, data, measure, models, train
from vaenb.train import Rng


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_known_parameter_counts():
    assert count(models.resnet18()) == 11173962
    assert count(models.densenet121()) == 6956298
    assert count(models.digit_net()) == 1199882


@pytest.mark.parametrize(("make", "image"), [
    (lambda: models.resnet18(3, width=2), (3, 32, 32)),
    (lambda: models.resnet18(1, 7, width=2), (1, 28, 28)),
    (lambda: models.densenet121(3, growth=2), (3, 32, 32)),
    (lambda: models.digit_net(1), (1, 28, 28)),
])
def test_images_become_logits(make, image):
    net = make().eval()
    logits = net(torch.rand(2, *image))
    assert logits.shape == (2, 7 if image == (1, 28, 28) and count(net) < 100000 else 10)
    assert logits.isfinite().all() and not torch.equal(logits[0], logits[1])


def test_dropping_takes_its_noise_from_the_source_it_is_given():
    net, x = models.digit_net(), torch.rand(3, 1, 28, 28)
    plain = net(x)
    torch.manual_seed(7)
    assert torch.equal(net(x), plain)  # without one nothing is dropped
    assert torch.equal(net(x, Rng.of(1)), net(x, Rng.of(1)))
    assert not torch.equal(net(x, Rng.of(1)), net(x, Rng.of(2)))
    kept = models.classifiers._dropped(torch.ones(400, 400), 0.25, Rng.of(0))
    assert kept.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert abs(kept.mean() - 1) < 4 * (1 / 3 / 160000) ** 0.5


def test_an_augmented_image_is_a_shifted_or_mirrored_one():
    pad, image = 1, torch.arange(1.0, 25).view(1, 2, 3, 4)
    padded = nn.functional.pad(image, (pad,) * 4)
    known = {}
    for top, left, flip in itertools.product(range(3), range(3), (False, True)):
        cut = padded[0, :, top:top + 3, left:left + 4]
        if flip:  # the picture is mirrored where it is cut
            cut = cut.flip(2)
        known[tuple(cut.flatten().tolist())] = (top, left, flip)
    many = image.expand(5000, -1, -1, -1)
    found = [known[tuple(a.flatten().tolist())] for a in models.augment(many, Rng.of(3), pad)]
    assert set(found) == set(known.values())
    counts = torch.tensor([found.count(place) for place in known.values()])
    expected = 5000 / 18
    assert ((counts - expected) ** 2 / expected).sum() < 45  # chi squared, 17 degrees: p = 2e-4
    straight = models.augment(many[:500], Rng.of(3), pad, flip=False)
    assert not any(known[tuple(a.flatten().tolist())][2] for a in straight)


def test_augmenting_can_be_batched_over_members():
    x = torch.rand(2, 6, 1, 8, 8)
    keys = torch.stack([Rng.of(s).key for s in (1, 2)])
    both = torch.vmap(lambda k, x: models.augment(x, Rng(k)))(keys, x)
    assert torch.equal(both[1], models.augment(x[1], Rng(keys[1])))


@pytest.mark.parametrize("make", [
    lambda: models.resnet18(1, width=4), models.digit_net], ids=["resnet", "digits"])
def test_it_learns_and_resumes_with_all_its_buffers(make, tmp_path):
    ds = data.load("digits", size=28)
    x, y = torch.from_numpy(ds.train_x[:, :1]), torch.from_numpy(ds.train_y).long()
    small = isinstance(make(), models.classifiers._DigitNet)

    def loss(net, batch, hp):
        x, y = batch
        logits = net(x, hp.rng) if small else net(nn.functional.avg_pool2d(x, 2))
        return nn.functional.cross_entropy(logits, y), {}

    def go(steps, folder=None, deadline=None):
        return train.fit(make, loss, (x, y), [dict(seed=1)], steps, batch=32, lr=3e-3, every=5,
                         checkpoint=folder, deadline=deadline, progress=False)[0]

    net = go(40)
    with pytest.raises(train.OutOfTime):
        go(40, tmp_path, deadline=0.0)
    again = go(40, tmp_path)
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    test = data.unit(torch.from_numpy(ds.test_x[:, :1]))
    test = test if small else nn.functional.avg_pool2d(test, 2)
    right = measure.logits(net, test).argmax(1) == torch.from_numpy(ds.test_y)
    assert right.double().mean() > 0.3


def test_impossible_sizes():
    for make, words in ((lambda: models.resnet18(width=0), "width is 0"),
                        (lambda: models.densenet121(growth=-1), "growth is -1"),
                        (lambda: models.digit_net(classes=0), "classes is 0")):
        with pytest.raises(VaenbError, match=f"{words} and must be at least 1"):
            make()
