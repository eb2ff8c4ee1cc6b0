// 3x3 convolutions of float32 pictures by Winograd's F(4x4, 3x3); nn/winograd.py has the equations.
//
// Tiles are dealt with in chunks that stay in a core's cache: a chunk is some rows of tiles, of one picture or of
// several. Its transforms lie as (36, channels, tiles), so that each of the 36 products is one of torch's.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

namespace {

constexpr int kTile = 4, kWindow = 6, kPlaces = kWindow * kWindow;
constexpr int64_t kTiles = 64;  // of a chunk, about

struct Maps {
  int64_t pictures, height, width;

  int64_t across() const { return (width + kTile - 1) / kTile; }
  int64_t down() const { return (height + kTile - 1) / kTile; }
  int64_t rows() const { return pictures * down(); }
};

// One dimension of a transform, of n vectors at once: `in` has so many, `out` too, each `step` apart.
using Transform = void (*)(const float* in, int64_t in_step, float* out, int64_t out_step, int64_t n);

// B^T d
void of_input(const float* __restrict in, int64_t from, float* __restrict out, int64_t to, int64_t n) {
#pragma GCC ivdep
  for (int64_t j = 0; j < n; ++j) {
    const float d0 = in[j], d1 = in[from + j], d2 = in[2 * from + j], d3 = in[3 * from + j], d4 = in[4 * from + j],
                d5 = in[5 * from + j];
    const float a = d4 - 4 * d2, b = d3 - 4 * d1, c = d4 - d2, e = 2 * (d3 - d1);
    out[j] = 4 * d0 - 5 * d2 + d4;
    out[to + j] = a + b;
    out[2 * to + j] = a - b;
    out[3 * to + j] = c + e;
    out[4 * to + j] = c - e;
    out[5 * to + j] = 4 * d1 - 5 * d3 + d5;
  }
}

// A^T m
void of_output(const float* __restrict in, int64_t from, float* __restrict out, int64_t to, int64_t n) {
#pragma GCC ivdep
  for (int64_t j = 0; j < n; ++j) {
    const float m1 = in[from + j], m2 = in[2 * from + j], m3 = in[3 * from + j], m4 = in[4 * from + j];
    const float a = m1 + m2, b = m1 - m2, c = m3 + m4, d = m3 - m4;
    out[j] = in[j] + a + c;
    out[to + j] = b + 2 * d;
    out[2 * to + j] = a + 4 * c;
    out[3 * to + j] = b + 8 * d + in[5 * from + j];
  }
}

// A g
void of_gradient(const float* __restrict in, int64_t from, float* __restrict out, int64_t to, int64_t n) {
#pragma GCC ivdep
  for (int64_t j = 0; j < n; ++j) {
    const float g0 = in[j], g1 = in[from + j], g2 = in[2 * from + j], g3 = in[3 * from + j];
    const float even = g0 + g2, odd = g1 + g3, more = g0 + 4 * g2, most = 2 * g1 + 8 * g3;
    out[j] = g0;
    out[to + j] = even + odd;
    out[2 * to + j] = even - odd;
    out[3 * to + j] = more + most;
    out[4 * to + j] = more - most;
    out[5 * to + j] = g3;
  }
}

// To (36, channels, tiles) from pictures (B, channels, H, W), for rows of tiles [first, last): windows of `size` that
// begin `before` a tile, with zeros outside of the picture.
template <Transform transform, int size, int before>
void spread(const float* x, float* out, const Maps& maps, int64_t channels, int64_t first, int64_t last) {
  const int64_t across = maps.across(), tiles = (last - first) * across, padded = across * kTile + kWindow - kTile;
  std::vector<float> window(size * padded), half(kWindow * padded), columns(kWindow * size * tiles);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t row = first; row < last; ++row) {
      const float* plane = x + (row / maps.down() * channels + c) * maps.height * maps.width;
      for (int k = 0; k < size; ++k) {
        const int64_t y = row % maps.down() * kTile + k - before;
        float* to = window.data() + k * padded;
        std::fill(to, to + padded, 0.f);
        if (y >= 0 && y < maps.height) std::copy_n(plane + y * maps.width, maps.width, to + before);
      }
      transform(window.data(), padded, half.data(), padded, padded);
      for (int k = 0; k < kWindow; ++k)
        for (int l = 0; l < size; ++l) {
          const float* __restrict from = half.data() + k * padded + l;
          float* __restrict to = columns.data() + (k * size + l) * tiles + (row - first) * across;
          for (int64_t j = 0; j < across; ++j) to[j] = from[j * kTile];
        }
    }
    for (int k = 0; k < kWindow; ++k)
      transform(columns.data() + k * size * tiles, tiles, out + (k * kWindow * channels + c) * tiles, channels * tiles,
                tiles);
  }
}

// To pictures (B, channels, H, W), with a bias, from (36, channels, tiles).
void gather(const float* m, float* y, const float* bias, const Maps& maps, int64_t channels, int64_t first,
            int64_t last) {
  const int64_t across = maps.across(), tiles = (last - first) * across;
  std::vector<float> half(kWindow * kTile * tiles), whole(kTile * kTile * tiles);
  for (int64_t c = 0; c < channels; ++c) {
    for (int l = 0; l < kWindow; ++l)
      of_output(m + (l * channels + c) * tiles, kWindow * channels * tiles, half.data() + l * tiles, kWindow * tiles,
                tiles);
    for (int k = 0; k < kTile; ++k)
      of_output(half.data() + k * kWindow * tiles, tiles, whole.data() + k * kTile * tiles, tiles, tiles);
    const float added = bias ? bias[c] : 0;
    for (int64_t row = first; row < last; ++row) {
      float* plane = y + (row / maps.down() * channels + c) * maps.height * maps.width;
      const int64_t top = row % maps.down() * kTile;
      for (int k = 0; k < std::min<int64_t>(kTile, maps.height - top); ++k)
        for (int l = 0; l < kTile; ++l) {
          const float* __restrict from = whole.data() + (k * kTile + l) * tiles + (row - first) * across;
          float* __restrict to = plane + (top + k) * maps.width + l;
          const int64_t count = (maps.width - l + kTile - 1) / kTile;
          for (int64_t j = 0; j < count; ++j) to[j * kTile] = from[j] + added;
        }
    }
  }
}

// Calls `work(first, last)` for each chunk of rows, on all threads.
template <typename Work>
void in_chunks(const Maps& maps, const Work& work) {
  const int64_t rows = maps.rows(), share = (rows + at::get_num_threads() - 1) / at::get_num_threads();
  const int64_t chunk = std::max<int64_t>(1, std::min(share, kTiles / maps.across()));
  at::parallel_for(0, (rows + chunk - 1) / chunk, 1, [&](int64_t begin, int64_t end) {
    at::AutoDispatchBelowADInplaceOrView below;
    work([&](const auto& each) {
      for (int64_t k = begin; k < end; ++k) each(k * chunk, std::min(rows, (k + 1) * chunk));
    }, chunk * maps.across());
  });
}

at::Tensor shaped(const at::Tensor& memory, int64_t channels, int64_t tiles) {
  return memory.narrow(0, 0, kPlaces * channels * tiles).view({kPlaces, channels, tiles});
}

// (36, 9): G of both dimensions, for kernels as they are, or turned by half.
at::Tensor both(const at::TensorOptions& options, bool turned) {
  const float g[] = {1.f / 4,  0,        0,       -1.f / 6, -1.f / 6,  -1.f / 6, -1.f / 6, 1.f / 6, -1.f / 6,
                     1.f / 24, 1.f / 12, 1.f / 6, 1.f / 24, -1.f / 12, 1.f / 6,  0,        0,       1};
  const auto one = at::tensor(at::ArrayRef<float>(g, 18), options).view({kWindow, 3});
  const auto g2 = at::kron(one, one);
  return turned ? g2.flip({1}) : g2;
}

// x (B, C, H, W) and w (O, C, 3, 3) to (B, O, H, W); or turned, x (B, O, H, W) and w (O, C, 3, 3) to (B, C, H, W).
at::Tensor convolved(const at::Tensor& given, const at::Tensor& w, const std::optional<at::Tensor>& bias,
                     bool turned) {
  const auto x = given.contiguous();
  const Maps maps{x.size(0), x.size(2), x.size(3)};
  const int64_t inp = x.size(1), out = w.size(turned ? 1 : 0);
  const auto kernels = at::mm(both(w.options(), turned), w.reshape({-1, 9}).t());
  const auto u = turned ? kernels.view({kPlaces, inp, out}).transpose(1, 2) : kernels.view({kPlaces, out, inp});
  const auto y = at::empty({x.size(0), out, x.size(2), x.size(3)}, x.options());
  const auto added = bias ? bias->contiguous() : at::Tensor();
  in_chunks(maps, [&](const auto& chunks, int64_t most) {
    const auto v = at::empty({kPlaces * inp * most}, x.options()), m = at::empty({kPlaces * out * most}, x.options());
    chunks([&](int64_t first, int64_t last) {
      const int64_t tiles = (last - first) * maps.across();
      spread<of_input, kWindow, 1>(x.const_data_ptr<float>(), v.data_ptr<float>(), maps, inp, first, last);
      auto products = shaped(m, out, tiles);
      at::bmm_out(products, u, shaped(v, inp, tiles));
      gather(m.const_data_ptr<float>(), y.data_ptr<float>(), added.defined() ? added.const_data_ptr<float>() : nullptr,
             maps, out, first, last);
    });
  });
  return y;
}

// The gradient (O, C, 3, 3) of the kernel, of x (B, C, H, W) and of the output's gradient (B, O, H, W).
at::Tensor kernel_gradient(const at::Tensor& given, const at::Tensor& of_y) {
  const auto x = given.contiguous(), g = of_y.contiguous();
  const Maps maps{x.size(0), x.size(2), x.size(3)};
  const int64_t inp = x.size(1), out = g.size(1);
  std::vector<at::Tensor> parts(at::get_num_threads());
  in_chunks(maps, [&](const auto& chunks, int64_t most) {
    const auto v = at::empty({kPlaces * inp * most}, x.options()), m = at::empty({kPlaces * out * most}, x.options());
    auto sum = at::empty({kPlaces, out, inp}, x.options());
    bool begun = false;
    chunks([&](int64_t first, int64_t last) {
      const int64_t tiles = (last - first) * maps.across();
      spread<of_input, kWindow, 1>(x.const_data_ptr<float>(), v.data_ptr<float>(), maps, inp, first, last);
      spread<of_gradient, kTile, 0>(g.const_data_ptr<float>(), m.data_ptr<float>(), maps, out, first, last);
      sum.baddbmm_(shaped(m, out, tiles), shaped(v, inp, tiles).transpose(1, 2), begun ? 1 : 0);
      begun = true;
    });
    parts[at::get_thread_num()] = sum;
  });
  at::Tensor whole;
  for (const auto& part : parts)
    if (part.defined()) whole = whole.defined() ? whole.add_(part) : part;
  return at::mm(whole.view({kPlaces, -1}).t(), both(x.options(), false)).view({out, inp, 3, 3});
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(carrara, library) {
  library.def("winograd(Tensor x, Tensor weight, Tensor? bias, bool turned) -> Tensor");
  library.def("winograd_kernel_gradient(Tensor x, Tensor gradient) -> Tensor");
}

TORCH_LIBRARY_IMPL(carrara, CPU, library) {
  library.impl("winograd", convolved);
  library.impl("winograd_kernel_gradient", kernel_gradient);
}
