"""Vector quantization: nearest codes, straight-through gradients, moving averages, and codes that come back to life."""

import pytest
import torch

from carrara.autoencoder import VqConfig
from carrara.autoencoder.codebook import Codebook, perplexity, usage
from carrara.seeds import Draws, torch_generator

FROM_SCRATCH = Draws(0, torch.arange(4))


def vectors(count: int, width: int = 3) -> torch.Tensor:
    return Draws(1, torch.arange(count)).normal("vectors", width)


def test_nearest_is_the_nearest() -> None:
    book = Codebook(37, 3, 0.9)
    book.codes.copy_(vectors(37) * 2)
    z = vectors(2 * 5 * 7).reshape(2, 5, 7, 3).movedim(-1, 1)
    want = torch.cdist(z.movedim(1, -1).reshape(-1, 3), book.codes).argmin(1).reshape(2, 5, 7)
    assert torch.equal(book.nearest(z), want)
    assert torch.equal(book.lookup(want)[1, :, 2, 3], book.codes[want[1, 2, 3]])


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Codebook(16, 3, 0.9)
    book.codes.copy_(vectors(16))
    z = vectors(64).reshape(4, 4, 4, 3).movedim(-1, 1)
    whole = book.nearest(z)
    monkeypatch.setattr("carrara.autoencoder.codebook._ELEMENTS", 48)
    assert torch.equal(book.nearest(z), whole)


def test_codes_are_moving_averages_of_their_vectors() -> None:
    book = Codebook(2, 1, 0.5)
    book.codes.copy_(torch.tensor([[-1.0], [1.0]]))
    book.counts.fill_(2.0)
    book.sums.copy_(book.codes * 2)
    z = torch.tensor([-2.0, -4.0, 3.0, 3.0]).reshape(4, 1, 1)
    book.learn(z, book.nearest(z), FROM_SCRATCH)
    assert book.counts.tolist() == [2.0, 2.0]
    assert book.sums.flatten().tolist() == [0.5 * -2 + 0.5 * -6, 0.5 * 2 + 0.5 * 6]
    assert book.codes.flatten().tolist() == [-2.0, 2.0]


def test_a_new_codebook_starts_at_vectors_of_the_first_batch() -> None:
    book, z = Codebook(8, 3, 0.99), vectors(64)
    book.learn(z, book.nearest(z), FROM_SCRATCH)
    assert torch.allclose(book.codes[0], z.mean(0), atol=1e-6)  # which all of them chose while the codes were zeros
    assert (book.codes[1:, None] - z).norm(dim=2).min(1).values.max() < 1e-5
    assert len(torch.unique(book.codes, dim=0)) == 8


def test_dead_codes_move_to_where_they_are_needed() -> None:
    far = torch.cat([vectors(60) * 0.01, vectors(4) + 10])
    book = Codebook(4, 3, 0.0)
    book.codes.copy_(torch.tensor([[0.0, 0, 0], [99, 99, 99], [98, 98, 98], [97, 97, 97]]))
    book.counts.fill_(16.0)
    book.sums.copy_(book.codes * 16)
    book.learn(far, book.nearest(far), FROM_SCRATCH)
    assert (book.codes[1:] - 10).norm(dim=1).max() < 6  # all of them beside the vectors that had no code near


def test_revival_is_a_function_of_seed_and_step() -> None:
    z = vectors(64)

    def codes(draws: Draws) -> torch.Tensor:
        book = Codebook(8, 3, 0.99)
        book.learn(z, book.nearest(z), draws)
        return book.codes

    assert torch.equal(codes(FROM_SCRATCH), codes(Draws(0, torch.arange(9))))
    assert not torch.equal(codes(FROM_SCRATCH), codes(FROM_SCRATCH.at(1)))


def test_the_encoder_learns_as_if_nothing_were_quantized_and_commits() -> None:
    with torch_generator(0):
        stage = VqConfig(channels=8, multipliers=(1, 2), blocks=1, codes=16).build((3, 8, 8))
    x = Draws(0, torch.arange(4)).normal("x", 3, 8, 8)
    stage.learn(stage.encode_raw(x), FROM_SCRATCH)
    made = stage.reconstruct(x, FROM_SCRATCH)
    (through,) = torch.autograd.grad(made.pixels.sum(), made.z, retain_graph=True)
    assert through.abs().sum() > 0
    (pull,) = torch.autograd.grad(made.penalty.sum(), made.z)
    codes = stage.codebook.lookup(stage.codebook.nearest(made.z))
    assert torch.allclose(pull, 2 * (made.z - codes) / made.z[0].numel(), atol=1e-7)
    assert not any(p.shape == stage.codebook.codes.shape for p in stage.parameters())


def test_diffusion_sees_vectors_before_quantization_and_the_decoder_quantizes() -> None:
    with torch_generator(0):
        stage = VqConfig(channels=8, multipliers=(1, 2), blocks=1, codes=16).build((3, 8, 8)).eval()
    x = Draws(0, torch.arange(2)).normal("x", 3, 8, 8)
    raw = stage.encode_raw(x)
    stage.learn(raw, FROM_SCRATCH)
    z = stage.latents(raw, FROM_SCRATCH)
    assert torch.equal(z, raw)
    nudged = z + 1e-6 * torch.ones_like(z)
    assert torch.equal(stage.decode(nudged), stage.decode(z))


def test_use_of_codes() -> None:
    assert perplexity(torch.tensor([0, 1, 2, 3]), 8).item() == pytest.approx(4)
    assert perplexity(torch.tensor([5, 5, 5]), 8).item() == pytest.approx(1)
    assert usage(torch.tensor([[0, 1], [1, 1]]), 8) == 0.25
