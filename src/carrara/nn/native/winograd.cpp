// 3x3 convolutions of float32 pictures by Winograd's F(4x4, 3x3); nn/winograd.py has the equations.
//
// All vectors are along channels, in blocks. Chunks are some rows of tiles, of one picture or of several: transformed
// they lie as (36, tiles, channels), kernels as (36, blocks of channels, other channels, block).

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

namespace {

#if defined(__AVX512F__) || defined(SIXTEEN_LANES)  // a test asks for these on any machine
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif
constexpr int kTile = 4, kWindow = 6, kPlaces = kWindow * kWindow, kKernel = 3, kWeights = kKernel * kKernel;
constexpr int64_t kBlock = 2 * kLanes;  // channels
constexpr int64_t kRows = 6;            // of a product, that are summed in registers
constexpr int64_t kPiece = 64;          // products, whose sums are added: one long sum rounds more
constexpr int64_t kTiles = 64;          // of a chunk, about
constexpr int64_t kLine = 16;           // numbers, by which rows are longer: powers of two would share few cache sets

using Vector = float __attribute__((vector_size(4 * kLanes)));
using Eight = float __attribute__((vector_size(32)));

template <typename V>
V loaded(const float* from) {
  V vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}

template <typename V>
void store(const V& vector, float* to) {
  std::memcpy(to, &vector, sizeof vector);
}

int64_t blocks(int64_t channels) { return (channels + kBlock - 1) / kBlock; }

// One dimension of a transform, of n numbers at once: of `size` such rows, each a step apart, to `made`.

struct OfInput {  // B^T d
  static constexpr int size = kWindow, made = kWindow, before = 1;
  static void along(const float* __restrict in, int64_t from, float* __restrict out, int64_t to, int64_t n) {
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) {
      const float d0 = in[j], d1 = in[from + j], d2 = in[2 * from + j];
      const float d3 = in[3 * from + j], d4 = in[4 * from + j], d5 = in[5 * from + j];
      const float a = d4 - 4 * d2, b = d3 - 4 * d1, c = d4 - d2, e = 2 * (d3 - d1);
      out[j] = 4 * d0 - 5 * d2 + d4;
      out[to + j] = a + b;
      out[2 * to + j] = a - b;
      out[3 * to + j] = c + e;
      out[4 * to + j] = c - e;
      out[5 * to + j] = 4 * d1 - 5 * d3 + d5;
    }
  }
};

struct OfOutput {  // A^T m
  static constexpr int size = kWindow, made = kTile;
  static void along(const float* __restrict in, int64_t from, float* __restrict out, int64_t to, int64_t n) {
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
};

struct OfGradient {  // A g
  static constexpr int size = kTile, made = kWindow, before = 0;
  static void along(const float* __restrict in, int64_t from, float* __restrict out, int64_t to, int64_t n) {
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
};

struct OfKernel {  // G g
  static constexpr int size = kKernel, made = kWindow;
  static void along(const float* __restrict in, int64_t from, float* __restrict out, int64_t to, int64_t n) {
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) {
      const float g0 = in[j], g1 = in[from + j], g2 = in[2 * from + j];
      const float even = (g0 + g2) * (-1.f / 6), odd = g1 * (1.f / 6);
      const float more = g0 * (1.f / 24) + g2 * (1.f / 6), most = g1 * (1.f / 12);
      out[j] = g0 * (1.f / 4);
      out[to + j] = even - odd;
      out[2 * to + j] = even + odd;
      out[3 * to + j] = more + most;
      out[4 * to + j] = more - most;
      out[5 * to + j] = g2;
    }
  }
};

struct OfSum {  // G^T s
  static constexpr int size = kWindow, made = kKernel;
  static void along(const float* __restrict in, int64_t from, float* __restrict out, int64_t to, int64_t n) {
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) {
      const float s1 = in[from + j], s2 = in[2 * from + j], s3 = in[3 * from + j], s4 = in[4 * from + j];
      const float a = (s1 + s2) * (-1.f / 6), b = s3 + s4;
      out[j] = in[j] * (1.f / 4) + a + b * (1.f / 24);
      out[to + j] = (s2 - s1) * (1.f / 6) + (s3 - s4) * (1.f / 12);
      out[2 * to + j] = a + b * (1.f / 6) + in[5 * from + j];
    }
  }
};

// Both dimensions, of a block of channels; of each, how far apart the numbers are down and across.
template <typename Transform>
void transform(const float* in, int64_t down, int64_t across, float* out, int64_t to_down, int64_t to_across) {
  constexpr int64_t row = Transform::size * kBlock;
  float half[Transform::made * row];
  for (int l = 0; l < Transform::size; ++l) Transform::along(in + l * across, down, half + l * kBlock, row, kBlock);
  for (int k = 0; k < Transform::made; ++k)
    Transform::along(half + k * row, kBlock, out + k * to_down, to_across, kBlock);
}

template <int... places>
Eight picked(const Eight& a, const Eight& b) {
#ifdef __clang__
  return __builtin_shufflevector(a, b, places...);
#else
  using Places = int __attribute__((vector_size(32)));
  return __builtin_shuffle(a, b, Places{places...});
#endif
}

// 8 rows of 8 numbers to columns.
void transpose_eight(const float* in, int64_t from, float* out, int64_t to) {
  Eight rows[8], pairs[8], fours[8];
  for (int k = 0; k < 8; ++k) rows[k] = loaded<Eight>(in + k * from);
  for (int k = 0; k < 8; k += 2) {
    pairs[k] = picked<0, 8, 1, 9, 4, 12, 5, 13>(rows[k], rows[k + 1]);
    pairs[k + 1] = picked<2, 10, 3, 11, 6, 14, 7, 15>(rows[k], rows[k + 1]);
  }
  for (int k : {0, 1, 4, 5}) {
    const int column = k / 4 * 4 + k % 4 * 2;
    fours[column] = picked<0, 1, 8, 9, 4, 5, 12, 13>(pairs[k], pairs[k + 2]);
    fours[column + 1] = picked<2, 3, 10, 11, 6, 7, 14, 15>(pairs[k], pairs[k + 2]);
  }
  for (int k = 0; k < 4; ++k) {
    store(picked<0, 1, 2, 3, 8, 9, 10, 11>(fours[k], fours[k + 4]), out + k * to);
    store(picked<4, 5, 6, 7, 12, 13, 14, 15>(fours[k], fours[k + 4]), out + (k + 4) * to);
  }
}

// (height, width) to (width, height); of each, how far apart the rows are.
void transpose(const float* in, int64_t from, float* out, int64_t to, int64_t height, int64_t width) {
  const int64_t high = height / 8 * 8, wide = width / 8 * 8;
  for (int64_t y = 0; y < high; y += 8)
    for (int64_t x = 0; x < wide; x += 8) transpose_eight(in + y * from + x, from, out + x * to + y, to);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = y < high ? wide : 0; x < width; ++x) out[x * to + y] = in[y * from + x];
}

struct Maps {
  int64_t pictures, height, width;

  int64_t across() const { return (width + kTile - 1) / kTile; }
  int64_t down() const { return (height + kTile - 1) / kTile; }
  int64_t rows() const { return pictures * down(); }
  int64_t area() const { return height * width; }
  int64_t top(int64_t row) const { return row % down() * kTile; }
};

struct Chunk {
  int64_t row, tiles;  // the first one, and how many follow
};

// The transforms (36, tiles, channels) of a chunk, with room for whole blocks of channels.
struct Transforms {
  int64_t channels, most;  // tiles
  int64_t row = blocks(channels) * kBlock + kLine, place = most * row + kLine;
  at::Tensor memory = at::empty({kPlaces * place}, at::kFloat);
  float* begin = memory.data_ptr<float>();
};

// From pictures (B, channels, H, W): windows that begin `before` a tile, with zeros outside of the picture.
template <typename Transform>
void spread(const at::Tensor& pictures, const Maps& maps, const Chunk& chunk, const Transforms& to) {
  const int64_t across = maps.across(), padded = (across * kTile + kWindow - kTile) * kBlock;
  std::vector<float> window(Transform::size * padded), half(kWindow * padded);
  for (int64_t c = 0; c < to.channels; c += kBlock)
    for (int64_t row = 0; row * across < chunk.tiles; ++row) {
      const int64_t picture = (chunk.row + row) / maps.down(), top = maps.top(chunk.row + row) - Transform::before;
      const float* planes = pictures.const_data_ptr<float>() + (picture * to.channels + c) * maps.area();
      for (int64_t k = 0; k < Transform::size; ++k) {
        float* lines = window.data() + k * padded;
        if (top + k < 0 || top + k >= maps.height)
          std::fill_n(lines, padded, 0.f);
        else
          transpose(planes + (top + k) * maps.width, maps.area(), lines + Transform::before * kBlock, kBlock,
                    std::min(kBlock, to.channels - c), maps.width);
      }
      Transform::along(window.data(), padded, half.data(), padded, padded);
      for (int k = 0; k < kWindow; ++k)
        for (int64_t j = 0; j < across; ++j)
          Transform::along(half.data() + k * padded + j * kTile * kBlock, kBlock,
                           to.begin + k * kWindow * to.place + (row * across + j) * to.row + c, to.place, kBlock);
    }
}

// To pictures (B, channels, H, W), with a bias.
void gather(const Transforms& from, const float* bias, const Maps& maps, const Chunk& chunk,
            const at::Tensor& pictures) {
  const int64_t across = maps.across(), wide = across * kTile * kBlock;
  std::vector<float> whole(kTile * wide);
  for (int64_t c = 0; c < from.channels; c += kBlock)
    for (int64_t row = 0; row * across < chunk.tiles; ++row) {
      for (int64_t j = 0; j < across; ++j)
        transform<OfOutput>(from.begin + (row * across + j) * from.row + c, kWindow * from.place, from.place,
                            whole.data() + j * kTile * kBlock, wide, kBlock);
      const int64_t picture = (chunk.row + row) / maps.down(), top = maps.top(chunk.row + row);
      const int64_t count = std::min(kBlock, from.channels - c);
      if (bias)
        for (int64_t j = 0; j < kTile * wide; j += kBlock)
          for (int64_t i = 0; i < count; ++i) whole[j + i] += bias[c + i];
      float* planes = pictures.data_ptr<float>() + (picture * from.channels + c) * maps.area();
      for (int64_t k = 0; k < std::min<int64_t>(kTile, maps.height - top); ++k)
        transpose(whole.data() + k * wide, kBlock, planes + (top + k) * maps.width, maps.area(), maps.width, count);
    }
}

// Numbers [row][k], or blocks of them, each so far apart.
struct Operand {
  const float* begin;
  int64_t row, step;
};

// out[row] (+)= sum over k < count of a[row][k] b[k], a block.
template <int rows>
void multiply(const Operand& a, const Operand& b, int64_t count, float* out, int64_t out_row, bool adds) {
  Vector sums[rows][2] = {};
  const float *factors = a.begin, *block = b.begin;
  for (int64_t k = 0; k < count; ++k, factors += a.step, block += b.step) {
    const Vector low = loaded<Vector>(block), high = loaded<Vector>(block + kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r) {
      sums[r][0] += factors[r * a.row] * low;
      sums[r][1] += factors[r * a.row] * high;
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < rows; ++r)
    for (int half = 0; half < 2; ++half) {
      float* to = out + r * out_row + half * kLanes;
      store(adds ? sums[r][half] + loaded<Vector>(to) : sums[r][half], to);
    }
}

// The same for any number of rows, and of blocks, which are `row` apart in b and `out_block` in the result.
void multiply_all(Operand a, int64_t rows, Operand b, int64_t many, int64_t count, float* out, int64_t out_row,
                  int64_t out_block, bool adds) {
  using Multiply = decltype(&multiply<1>);
  constexpr Multiply multiplies[] = {multiply<1>, multiply<2>, multiply<3>, multiply<4>, multiply<5>, multiply<6>};
  for (int64_t block = 0; block < many; ++block)
    for (int64_t r = 0; r < rows; r += kRows)
      for (int64_t k = 0; k < count; k += kPiece)
        multiplies[std::min(kRows, rows - r) - 1]({a.begin + r * a.row + k * a.step, a.row, a.step},
                                                  {b.begin + block * b.row + k * b.step, b.row, b.step},
                                                  std::min(kPiece, count - k),
                                                  out + block * out_block + r * out_row, out_row, adds || k > 0);
}

// Calls `work` once on each thread, with the most tiles of a chunk, and with what calls a function for each chunk.
template <typename Work>
void in_chunks(const Maps& maps, const Work& work) {
  const int64_t rows = maps.rows(), share = (rows + at::get_num_threads() - 1) / at::get_num_threads();
  const int64_t chunk = std::max<int64_t>(1, std::min(share, kTiles / maps.across()));
  at::parallel_for(0, (rows + chunk - 1) / chunk, 1, [&](int64_t begin, int64_t end) {
    at::AutoDispatchBelowADInplaceOrView below;
    work(chunk * maps.across(), [&](const auto& each) {
      for (int64_t k = begin; k < end; ++k) each(Chunk{k * chunk, std::min(chunk, rows - k * chunk) * maps.across()});
    });
  });
}

// Transforms (36, blocks of O, C, block) of w (O, C, 3, 3); or turned, (36, blocks of C, O, block).
at::Tensor of_kernels(const at::Tensor& w, bool turned) {
  const int64_t out = w.size(turned ? 1 : 0), inp = w.size(turned ? 0 : 1);
  const int64_t out_step = (turned ? 1 : inp) * kWeights, inp_step = (turned ? out : 1) * kWeights;
  const auto u = at::empty({kPlaces, blocks(out) * inp * kBlock + kLine}, w.options());
  const float* from = w.const_data_ptr<float>();
  float* to = u.data_ptr<float>();
  at::parallel_for(0, blocks(out) * inp, 64, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t first = k / inp * kBlock;
      const float* kernels = from + first * out_step + k % inp * inp_step;
      float whole[kWeights * kBlock] = {};
      for (int64_t i = 0; i < std::min(kBlock, out - first); ++i)
        for (int p = 0; p < kWeights; ++p)
          whole[(turned ? kWeights - 1 - p : p) * kBlock + i] = kernels[i * out_step + p];
      transform<OfKernel>(whole, kKernel * kBlock, kBlock, to + k * kBlock, kWindow * u.stride(0), u.stride(0));
    }
  });
  return u;
}

// The gradient (O, C, 3, 3) of kernels, of parts of the sum (36, blocks of C, O, block).
at::Tensor of_sums(const std::vector<at::Tensor>& parts, int64_t out, int64_t inp) {
  const int64_t place = parts[0].stride(0);
  const auto gradient = at::empty({out, inp, kKernel, kKernel}, parts[0].options());
  float* to = gradient.data_ptr<float>();
  std::vector<const float*> from;
  for (const auto& part : parts) from.push_back(part.const_data_ptr<float>());
  at::parallel_for(0, blocks(inp) * out, 64, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      float sum[kPlaces * kBlock] = {}, whole[kWeights * kBlock];
      for (const float* part : from)
        for (int p = 0; p < kPlaces; ++p)
          for (int j = 0; j < kBlock; ++j) sum[p * kBlock + j] += part[p * place + k * kBlock + j];
      transform<OfSum>(sum, kWindow * kBlock, kBlock, whole, kKernel * kBlock, kBlock);
      const int64_t first = k / out * kBlock;
      float* kernels = to + (k % out * inp + first) * kWeights;
      for (int64_t i = 0; i < std::min(kBlock, inp - first); ++i)
        for (int p = 0; p < kWeights; ++p) kernels[i * kWeights + p] = whole[p * kBlock + i];
    }
  });
  return gradient;
}

// x (B, C, H, W) and w (O, C, 3, 3) to (B, O, H, W); or turned, x (B, O, H, W) and w (O, C, 3, 3) to (B, C, H, W).
at::Tensor convolved(const at::Tensor& given, const at::Tensor& w, const std::optional<at::Tensor>& bias, bool turned) {
  const auto x = given.contiguous(), shift = bias ? bias->contiguous() : at::Tensor();
  const Maps maps{x.size(0), x.size(2), x.size(3)};
  const int64_t inp = x.size(1), out = w.size(turned ? 1 : 0);
  const float* added = bias ? shift.const_data_ptr<float>() : nullptr;
  const auto u = of_kernels(w.contiguous(), turned);
  const auto y = at::empty({maps.pictures, out, maps.height, maps.width}, x.options());
  in_chunks(maps, [&](int64_t most, const auto& chunks) {
    const Transforms v{inp, most}, m{out, most};
    chunks([&](const Chunk& chunk) {
      spread<OfInput>(x, maps, chunk, v);
      for (int p = 0; p < kPlaces; ++p)
        multiply_all({v.begin + p * v.place, v.row, 1}, chunk.tiles,
                     {u.const_data_ptr<float>() + p * u.stride(0), inp * kBlock, kBlock}, blocks(out), inp,
                     m.begin + p * m.place, m.row, kBlock, false);
      gather(m, added, maps, chunk, y);
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
  in_chunks(maps, [&](int64_t most, const auto& chunks) {
    const Transforms v{inp, most}, m{out, most};
    const auto sum = at::empty({kPlaces, blocks(inp) * out * kBlock + kLine}, x.options());
    bool begun = false;
    chunks([&](const Chunk& chunk) {
      spread<OfInput>(x, maps, chunk, v);
      spread<OfGradient>(g, maps, chunk, m);
      for (int p = 0; p < kPlaces; ++p)
        multiply_all({m.begin + p * m.place, 1, m.row}, out, {v.begin + p * v.place, kBlock, v.row}, blocks(inp),
                     chunk.tiles, sum.data_ptr<float>() + p * sum.stride(0), kBlock, out * kBlock, begun);
      begun = true;
    });
    parts[at::get_thread_num()] = sum;
  });
  std::erase_if(parts, [](const auto& part) { return !part.defined(); });
  return of_sums(parts, out, inp);
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
