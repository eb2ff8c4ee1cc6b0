// The random numbers of carrara.seeds: a pure function of (seed, purpose, step), with the same bits as in Python.
// Draw j is u_j = mix(key + j GAMMA) with SplitMix64's finaliser (Steele, Lea and Flood, 2014), and its two halves are
// made normal by Box and Muller: z = sqrt(-2 ln u) (cos 2 pi v, sin 2 pi v).

const MASK = (1n << 64n) - 1n;
const GAMMA = 0x9e3779b97f4a7c15n;
const f = Math.fround;

export function mix(x) {
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return x ^ (x >> 31n);
}

const IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
const ORDERS = [
  "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
  "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
].map((row) => [...row].map((digit) => parseInt(digit, 16)));
const QUARTERS = [
  [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
];
const turned = (x, by) => (x >> by) | ((x << (64n - by)) & MASK);

/** BLAKE2b (RFC 7693) of at most 128 bytes, without a key, as 8 bytes: a number, the first byte lowest. */
export function blake2b(bytes) {
  if (bytes.length > 128) throw new RangeError("a name has at most 128 bytes");
  const padded = new Uint8Array(128);
  padded.set(bytes);
  const words = new BigUint64Array(16), view = new DataView(padded.buffer);
  for (let k = 0; k < 16; k++) words[k] = view.getBigUint64(8 * k, true);
  const first = IV[0] ^ 0x01010008n, v = [first, ...IV.slice(1), ...IV];
  v[12] ^= BigInt(bytes.length);
  v[14] ^= MASK;
  for (let round = 0; round < 12; round++) {
    const order = ORDERS[round % 10];
    QUARTERS.forEach(([a, b, c, d], k) => {
      for (const [word, one, two] of [[words[order[2 * k]], 32n, 24n], [words[order[2 * k + 1]], 16n, 63n]]) {
        v[a] = (v[a] + v[b] + word) & MASK;
        v[d] = turned(v[d] ^ v[a], one);
        v[c] = (v[c] + v[d]) & MASK;
        v[b] = turned(v[b] ^ v[c], two);
      }
    });
  }
  return first ^ v[0] ^ v[8];
}

/** What Python's carrara.seeds makes of (0, purpose, step): 63 bits. */
export const integer = (purpose, step) => blake2b(new TextEncoder().encode(`(0, '${purpose}', ${step})`)) >> 1n;

/** So many standard normal numbers, float32, for one seed (a BigInt of 64 bits with a sign). */
export function normal(seed, purpose, count, step = 0) {
  const key = mix((integer(purpose, step) + mix((BigInt.asUintN(64, seed) * GAMMA) & MASK)) & MASK);
  const half = Math.ceil(count / 2), found = new Float32Array(2 * half);
  for (let k = 0, counter = key; k < half; k++) {
    counter = (counter + GAMMA) & MASK;
    const bits = mix(counter);
    const u = f(f(f(Number(bits >> 32n)) + 0.5) * 2 ** -32), v = f(f(Number(bits & 0xffffffffn)) * 2 ** -32);
    const radius = f(Math.sqrt(f(-2 * f(Math.log(u))))), angle = f(f(2 * Math.PI) * v);
    found[k] = radius * f(Math.cos(angle));
    found[half + k] = radius * f(Math.sin(angle));
  }
  return found.subarray(0, count);
}
