// The mathematics of bitmap primitives, defined once, for a C++17 compiler and NVRTC (see
// sad_core.h for what T may be). Model of DiffBMP (arXiv 2602.22625); what a picture of primitives
// looks like is said in sadcodec/compose/reference.py.
//
// Templates are held as quads: 32 bits with the four texels that a point lies between, so that a
// bilinear lookup is one read a channel. Quad (i, j) of a level holds texels i - 2 and i - 1
// across, j - 2 and j - 1 down, those outside being 0: from its first column and row to the last a
// point moves from zeros to zeros, and clamping to them is all that a lookup needs.
#ifndef BMP_CORE_H_
#define BMP_CORE_H_

#include "sad_core.h"

namespace sad {

// Columns of a parameter row; three colour logits at the end.
constexpr int kBmpX = 0, kBmpY = 1, kBmpR = 2, kBmpAngle = 3, kBmpOpacity = 4, kBmpColor = 5;
constexpr int kBmpColumns = 8;
constexpr int kTemplateSide = 128;  // texels of level 0; level l has half of those of l - 1
constexpr int kTemplateLevels = 8;
constexpr int kBmpTile = 32;  // px

// What is behind is not seen where less than this of its light passes: a fortieth of a code value
// of 16 bits, and less than what rounding of the sums leaves open.
constexpr float kBmpDark = 9.5367431640625e-07f;  // 2^-20

// 1 - alpha is taken as at least this where it divides; only of an alpha over 0.9999.
constexpr float kBmpLeastClear = 1e-4f;

// One level of one template.
struct BmpLevel {
  int plane;  // its first quad; planes of red, green and blue follow where there are any
  int side;   // quads across and down
  int low_s, high_s, low_t, high_t;  // quad coordinates between which it is not 0
};

// A primitive made ready for a raster.
struct BmpPrimitive {
  float x, y;          // px
  float ax, ay;        // quads a pixel: s = ax dx + ay dy, t = ax dy - ay dx from the middle
  float middle, last;  // quad coordinates: of the centre, and the greatest
  float alpha;         // opacity * sigmoid(v) / 255
  float color[3];      // (1 - blend) sigmoid(c)
  float low_s, high_s, low_t, high_t;
  int plane, side;
};

// The level that a primitive is looked up in: 1 to 2 texels a pixel where there are any. Powers of
// two round nothing.
SAD_FN int bmp_level(float r) {
  int level = 0;
  float size = 4.0f * r;
  while (level < kTemplateLevels - 1 && size <= static_cast<float>(kTemplateSide)) {
    size = 2.0f * size;
    ++level;
  }
  return level;
}

SAD_FN double bmp_sigmoid(double x) { return 1.0 / (1.0 + sad_exp(-x)); }

// levels: of the primitive's template, one after the other.
SAD_FN BmpPrimitive bmp_prepare(const float* row, float opacity, float blend,
                                const BmpLevel* levels) {
  const int level = bmp_level(row[kBmpR]);
  const BmpLevel& l = levels[level];
  const double scale = kTemplateSide / 2.0 / (1 << level) / static_cast<double>(row[kBmpR]);
  const double angle = static_cast<double>(row[kBmpAngle]);
  BmpPrimitive p;
  p.x = row[kBmpX];
  p.y = row[kBmpY];
  p.ax = static_cast<float>(scale * cos(angle));
  p.ay = static_cast<float>(scale * sin(angle));
  p.middle = 0.5f * static_cast<float>(l.side);  // of an image of side - 3 texels, 2 further
  p.last = static_cast<float>(l.side - 1);
  p.alpha = static_cast<float>(opacity * bmp_sigmoid(row[kBmpOpacity]) / 255.0);
  for (int c = 0; c < 3; ++c)
    p.color[c] = static_cast<float>((1.0 - blend) * bmp_sigmoid(row[kBmpColor + c]));
  p.low_s = static_cast<float>(l.low_s);
  p.high_s = static_cast<float>(l.high_s);
  p.low_t = static_cast<float>(l.low_t);
  p.high_t = static_cast<float>(l.high_t);
  p.plane = l.plane;
  p.side = l.side;
  return p;
}

// Whether a primitive can be seen in a square with centre (dx, dy) from the primitive's own and
// half-side h, in px. A hundredth of a texel makes up for rounding.
template <typename T, typename Mask>
SAD_FN Mask bmp_touches(const BmpPrimitive& p, T dx, T dy, float h) {
  const float reach = h * (sad_max(p.ax, -p.ax) + sad_max(p.ay, -p.ay)) + 0.01f;
  const T s = T(p.ax) * dx + T(p.ay) * dy + T(p.middle);
  const T t = T(p.ax) * dy - T(p.ay) * dx + T(p.middle);
  return (s > T(p.low_s - reach)) & (T(p.high_s + reach) > s) & (t > T(p.low_t - reach)) &
         (T(p.high_t + reach) > t);
}

// ---- Lookup ---------------------------------------------------------------------------------

template <typename T>
struct BmpSample {
  T value, along, across;  // 0..255, and the derivatives by s and t
};

// taps: upper left, upper right, lower left, lower right.
template <typename T>
SAD_FN BmpSample<T> bmp_bilinear(const T* taps, T fs, T ft) {
  const T upper = taps[1] - taps[0], lower = taps[3] - taps[2];
  const T first = taps[0] + fs * upper, second = taps[2] + fs * lower;
  BmpSample<T> out;
  out.across = second - first;
  out.value = first + ft * out.across;
  out.along = upper + ft * (lower - upper);
  return out;
}

// ---- Picture --------------------------------------------------------------------------------

// Lay a primitive behind what a pixel has so far: light is what still passes, color what has been
// seen. samples: the mask, then red, green and blue if Blended.
template <bool Blended, typename T>
SAD_FN void bmp_paint(const BmpPrimitive& p, float blend, const BmpSample<T>* samples, T* light,
                      T* color) {
  const T alpha = T(p.alpha) * samples[0].value;
  const T through = *light * T(p.alpha);
  SAD_UNROLL
  for (int c = 0; c < 3; ++c) {
    T paint = T(p.color[c]) * samples[0].value;
    if (Blended) paint = paint + T(blend) * samples[1 + (Blended ? c : 0)].value;
    color[c] = color[c] + through * paint;
  }
  *light = *light - *light * alpha;
}

// ---- Gradient -------------------------------------------------------------------------------

// What one primitive gathers over pixels, in quads: derivatives by s and t, along the radius, along
// the turn; by alpha's factor; by the colours.
enum BmpSum { kBmpS = 0, kBmpT, kBmpScale, kBmpTurn, kBmpFactor, kBmpPaint, kBmpSums = 8 };

// Go behind a primitive from the front: slope = dL/d(colour of the pixel); rest is what the colour
// and the light behind make of L: sum over c of slope_c * color_c, less dL/d(alpha) * the last
// light. (u, v): quads from the middle. Nothing but light and rest changes if `sums` is null.
template <bool Blended, typename T>
SAD_FN void bmp_gather(const BmpPrimitive& p, float blend, const BmpSample<T>* samples, T u, T v,
                       const T* slope, T* light, T* rest, T* sums) {
  const BmpSample<T>& mask = samples[0];
  const T alpha = T(p.alpha) * mask.value;
  const T through = *light * T(p.alpha);
  const T tone = slope[0] * T(p.color[0]) + slope[1] * T(p.color[1]) + slope[2] * T(p.color[2]);
  T seen = tone * mask.value;
  if (Blended)
    seen =
        seen + T(blend) * (slope[0] * samples[1].value + slope[1] * samples[Blended ? 2 : 0].value +
                           slope[2] * samples[Blended ? 3 : 0].value);
  const T own = through * seen;
  *rest = *rest - own;
  if (sums) {
    const T hidden = *rest / sad_max(T(1.0f) - alpha, T(kBmpLeastClear));
    const T by_mask = through * tone - T(p.alpha) * hidden;
    T by_s = by_mask * mask.along, by_t = by_mask * mask.across;
    if (Blended) {
      const T factor = through * T(blend);
      SAD_UNROLL
      for (int c = 0; c < 3; ++c) {
        const BmpSample<T>& q = samples[1 + (Blended ? c : 0)];
        by_s = by_s + factor * slope[c] * q.along;
        by_t = by_t + factor * slope[c] * q.across;
      }
    }
    sums[kBmpS] = sums[kBmpS] + by_s;
    sums[kBmpT] = sums[kBmpT] + by_t;
    sums[kBmpScale] = sums[kBmpScale] + (by_s * u + by_t * v);
    sums[kBmpTurn] = sums[kBmpTurn] + (by_s * v - by_t * u);
    sums[kBmpFactor] = sums[kBmpFactor] + (own - alpha * hidden);
    const T painted = through * mask.value;
    SAD_UNROLL
    for (int c = 0; c < 3; ++c) sums[kBmpPaint + c] = sums[kBmpPaint + c] + painted * slope[c];
  }
  *light = *light - *light * alpha;
}

// Chain rule from the sums to the parameter row.
SAD_FN void bmp_parameter_gradient(const float* row, const BmpPrimitive& p, float blend,
                                   const double* sums, float* out) {
  out[kBmpX] = static_cast<float>(p.ay * sums[kBmpT] - p.ax * sums[kBmpS]);
  out[kBmpY] = static_cast<float>(-p.ay * sums[kBmpS] - p.ax * sums[kBmpT]);
  out[kBmpR] = static_cast<float>(-sums[kBmpScale] / row[kBmpR]);
  out[kBmpAngle] = static_cast<float>(sums[kBmpTurn]);
  out[kBmpOpacity] = static_cast<float>(sums[kBmpFactor] * bmp_sigmoid(-row[kBmpOpacity]));
  for (int c = 0; c < 3; ++c) {
    const double s = bmp_sigmoid(row[kBmpColor + c]);
    out[kBmpColor + c] = static_cast<float>(sums[kBmpPaint + c] * (1.0 - blend) * s * (1.0 - s));
  }
}

}  // namespace sad
#endif  // BMP_CORE_H_
