"""What chapter 5's sampling and its second decoder cost: ratios, all from one run.

Sampling at 28x28 with activations kept against drawing each pixel by a pass over the whole image,
the same images for the same noise; a dueling step against the two VAEs that it unites; and three
seeds as one program against one after another (on a GPU; a CPU trains such nets one by one).
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import in_turns, show

from vaenb.models import dueling_vae
from vaenb.train import Rng, fit

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
WIDTH, FILTERS, PSEUDO = (32, 64, 280) if GPU else (8, 16, 40)
ROUNDS, STEPS, BATCH, DRAWN = 5, 4, 32, 4


def make(decoder="pixelcnn", beside="conv"):
    torch.manual_seed(0)
    return dueling_vae(16, decoder, beside, width=WIDTH, filters=FILTERS, pseudo_inputs=PSEUDO)


@torch.no_grad()
def naive(model, z, rng):
    """Each pixel by a pass over the whole image."""
    side = model.decoder.side
    x = torch.zeros(len(z), 1, side, side, device=z.device)
    u = rng.uniform(len(z), 1, side, side)
    for i in range(side):
        for j in range(side):
            out = model.decoder(x, z)[:, :, i, j]
            x[:, :, i, j] = (u[:, :, i, j] < out.sigmoid()).float()
    return x


def kept(model, z, rng):
    """The same with activations kept."""
    return model.sample(z, rng)


def sampled(draw, model, z):
    """Images of the codes ``z``, with the same noise whoever draws."""
    x = draw(model, z, Rng.of(1, device=DEVICE))
    settle()
    return x


def settle():
    if GPU:
        torch.cuda.synchronize()


def loss(model, x, hp):
    nats = model((x > 0.5).to(x.dtype), hp.rng)
    return (nats.distortion + hp.lam * nats.auxiliary + nats.rate).mean(), {}


def train(count, decoder="pixelcnn", beside="conv", chunk=0):
    x = torch.randint(256, (4 * BATCH, 1, 28, 28), dtype=torch.uint8,
                      generator=torch.Generator().manual_seed(0))  # fmt: skip
    fit(lambda: make(decoder, beside), loss, x, [dict(seed=s, lam=0.1) for s in range(count)],
        STEPS if not GPU else 50, batch=BATCH, chunk=chunk, device=DEVICE,
        progress=False)  # fmt: skip
    settle()


def main():
    print(f"torch {torch.__version__}, {DEVICE}, {torch.get_num_threads()} threads; "
          f"width {WIDTH}, {FILTERS} filters, {PSEUDO} pseudo-inputs")  # fmt: skip
    model = make().to(DEVICE).eval()
    z = Rng.of(0, "samples", device=DEVICE).normal(DRAWN, 16)
    share = float((sampled(kept, model, z) != sampled(naive, model, z)).float().mean())
    print(f"\nSampling: {DRAWN} images of 28x28; {share:.1e} of their pixels differ (rounding)")
    many = Rng.of(2, "samples", device=DEVICE).normal(300, 16)
    [[spent]], _ = in_turns(1, (sampled, kept, model, many))
    print(f"300 images with activations kept: {spent:.1f} s")
    (slow, fast), _ = in_turns(3, (sampled, naive, model, z), (sampled, kept, model, z))
    show("time of a pass a pixel / activations kept", slow, fast, ">= 5")

    (both, pixels, alone), _ = in_turns(
        ROUNDS, (train, 1), (train, 1, "pixelcnn", None), (train, 1, "cnn", None))
    parts = [a + b for a, b in zip(pixels, alone, strict=True)]
    show("a dueling step / PixelCNN VAE + CNN VAE", both, parts, "<= 1")
    (single, stacked), _ = in_turns(
        3, (train, 3, "pixelcnn", "conv", 1), (train, 3, "pixelcnn", "conv", 3))
    show("three seeds one after another / as one program", single, stacked, "> 1 on a GPU")


if __name__ == "__main__":
    main()
