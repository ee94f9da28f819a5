"""Trains the network of examples/voice, which tells voiced sound from noise in chunks of 512 samples.

Usage: pip install torch onnx && python scripts/train-voice.py

Data: synthetic voices (glottal pulses through three resonances, in syllables with pauses) over noise, hum and clicks.
A chunk is cut into three windows, a fixed filterbank gives the logarithm of the energy in 24 bands of each, and a GRU
reads them; its state goes out and comes in again with the next chunk.
"""
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

RATE, CHUNK, WINDOW, HOP, BANDS, HIDDEN = 16000, 512, 256, 128, 24, 24
OUT = pathlib.Path(__file__).parent.parent / "examples" / "voice"


def filterbank():
    """Cosine and sine of each band under a Hann window: [2 * BANDS, 1, WINDOW]."""
    centres = 90 * (5000 / 90) ** (np.arange(BANDS) / (BANDS - 1))
    phase = 2 * np.pi * centres[:, None] * np.arange(WINDOW)[None] / RATE
    taps = np.concatenate([np.cos(phase), np.sin(phase)]) * np.hanning(WINDOW) / WINDOW
    return torch.tensor(taps[:, None], dtype=torch.float32)


class Voice(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("bank", filterbank())
        self.gru = nn.GRU(BANDS, HIDDEN)
        self.head = nn.Linear(HIDDEN, 1)

    def features(self, samples):
        """[clips, CHUNK] to [windows, clips, BANDS]."""
        waves = F.conv1d(samples[:, None], self.bank, stride=HOP)
        energy = waves[:, :BANDS] ** 2 + waves[:, BANDS:] ** 2
        return (torch.log(energy + 1e-9) * 0.25 + 3).permute(2, 0, 1)

    def forward(self, samples, state):
        _, after = self.gru(self.features(samples), state)
        return torch.sigmoid(self.head(after[0]))[:, 0], after


def resonate(x, frequency, width):
    """A resonance, applied in the frequency domain."""
    f = np.fft.rfftfreq(len(x), 1 / RATE)
    return np.fft.irfft(np.fft.rfft(x) / (1 - (f / frequency) ** 2 + 1j * f * width / frequency**2), len(x))


def syllable(rng, length):
    pitch = rng.uniform(85, 280) * (1 + rng.uniform(-0.2, 0.2) * np.linspace(0, 1, length))
    phase = np.cumsum(pitch / RATE)
    pulses = np.diff(np.floor(phase), prepend=0) + 0.02 * rng.standard_normal(length)
    sound = pulses
    for low, high in ((250, 850), (850, 2300), (2200, 3300)):
        sound = resonate(sound, rng.uniform(low, high), rng.uniform(60, 200))
    return sound / (np.sqrt(np.mean(sound**2)) + 1e-9) * np.hanning(length) ** 0.3


def background(rng, length):
    white = rng.standard_normal(length)
    f = np.fft.rfftfreq(length, 1 / RATE)
    coloured = np.fft.irfft(np.fft.rfft(white) / (1 + f / 300) ** rng.uniform(0, 1.2), length)
    noise = coloured / coloured.std()
    if rng.random() < 0.4:
        t = np.arange(length) / RATE
        noise += rng.uniform(0.2, 1.5) * np.sin(2 * np.pi * rng.choice([50, 60, 100, 120, 440, 1000, 1500]) * t)
    for at in rng.integers(0, length - 400, rng.poisson(2)):
        noise[at : at + 400] += 15 * rng.standard_normal(400) * np.exp(-np.arange(400) / 60)
    return noise


def clip(rng, seconds=4):
    length = RATE * seconds // CHUNK * CHUNK
    voice, spoken = np.zeros(length), np.zeros(length)
    at = int(rng.uniform(0, 1.5) * RATE)
    while at < length and rng.random() < 0.93:
        n = min(int(rng.uniform(0.1, 0.35) * RATE), length - at)
        if n < 800:
            break
        voice[at : at + n] += syllable(rng, n)
        spoken[at : at + n] = 1
        at += n + int((rng.uniform(0, 0.06) if rng.random() < 0.8 else rng.uniform(0.4, 1.2)) * RATE)
    level = 10 ** rng.uniform(-2.2, -0.7)
    sound = level * (voice + background(rng, length) * 10 ** (-rng.uniform(6, 26) / 20))
    return sound, spoken.reshape(-1, CHUNK).mean(1) > 0.5


def clips(seed, count):
    rng = np.random.default_rng(seed)
    sounds, spoken = zip(*(clip(rng) for _ in range(count)))
    return torch.tensor(np.array(sounds), dtype=torch.float32), torch.tensor(np.array(spoken), dtype=torch.float32)


def accuracy(model, features, spoken):
    with torch.no_grad():
        return ((model.head(model.gru(features)[0])[2::3, :, 0] > 0).float() == spoken.T).float().mean().item()


def main():
    torch.manual_seed(7)
    torch.set_num_threads(1)
    model = Voice()
    # All chunks of all clips at once; windows do not cross chunks, in training as in use.
    def prepare(seed, count):
        sounds, spoken = clips(seed, count)
        with torch.no_grad():
            each = model.features(sounds.reshape(-1, CHUNK)).reshape(3, count, -1, BANDS)
        return each.permute(2, 0, 1, 3).reshape(-1, count, BANDS), spoken

    features, spoken = prepare(1, 800)
    held, held_spoken = prepare(2, 100)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    epochs = 30
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        for batch in torch.randperm(features.shape[1]).split(40):
            optimizer.zero_grad()
            logits = model.head(model.gru(features[:, batch])[0])[2::3, :, 0]
            F.binary_cross_entropy_with_logits(logits, spoken[batch].T).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        schedule.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: {accuracy(model, held, held_spoken):.3f} of the chunks right", flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(model.eval(), (torch.zeros(1, CHUNK), torch.zeros(1, 1, HIDDEN)), OUT / "voice.onnx",
                      dynamo=False, opset_version=17, input_names=["samples", "state"],
                      output_names=["probability", "next_state"],
                      dynamic_axes={"samples": {0: "N"}, "state": {1: "N"}, "probability": {0: "N"}, "next_state": {1: "N"}})


if __name__ == "__main__":
    main()
