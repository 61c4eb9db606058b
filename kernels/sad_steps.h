// The mathematics of one step of a fit, on top of sad_core.h: Adam, the bits of parameters, noise
// and bounds.
#ifndef SAD_STEPS_H_
#define SAD_STEPS_H_

#include "sad_core.h"

namespace sad {

// Adam (Kingma and Ba, arXiv 1412.6980): updates the moments m and v of one parameter and returns
// what to subtract from it. step = 1 / (1 - beta1^t) and root = 1 / sqrt(1 - beta2^t).
SAD_FN float sad_adam(float g, float* m, float* v, float beta1, float beta2, float epsilon,
                      float step, float root, float rate) {
  *m = beta1 * *m + (1.0f - beta1) * g;
  *v = beta2 * *v + (1.0f - beta2) * g * g;
  return rate * (*m * step) / (sad_sqrt(*v) * root + epsilon);
}

// Bits of a parameter that differs by r from its prediction, as of a Laplace distribution whose
// mean magnitude is scale: sqrt((r / scale)^2 + kRateRounding^2) / ln 2 and a constant. This is
// their derivative. Around 0 the root rounds off the corner: what is under half a step is rounded
// away.
constexpr float kRateRounding = 0.4f;
constexpr float kRateShortest = 0.1f;  // |(p, q)| is taken as the root of its square and this one's

SAD_FN float sad_rate_slope(float r, float scale) {
  if (!(scale > 0.0f)) return 0.0f;
  const float u = r / scale;
  return 1.44269504f * u / (scale * sad_sqrt(u * u + kRateRounding * kRateRounding));
}

// Add price times the derivatives of a site's bits to its gradient. prediction and scale are rows
// of parameters, but with |(p, q)| in column p and colours on the axes [C][C]; a scale of 0 means
// no bits, and positions have none. An angle costs log2(1 + sinh |(p, q)| / turn), turn being its
// step over pi: the logarithm of the number of its directions.
SAD_FN void sad_add_rate(const float* params, const float* prediction, const float* scale,
                         const float* axes, float turn, float price, int channels,
                         float* gradient) {
  for (int j = kLogTau; j <= kRadius; ++j)
    gradient[j] += price * sad_rate_slope(params[j] - prediction[j], scale[j]);
  const float p = params[kP], q = params[kQ];
  const float a = sad_sqrt(p * p + q * q + kRateShortest * kRateShortest);
  const float e = sad_exp(a), cosh = 0.5f * (e + 1.0f / e), sinh = 0.5f * (e - 1.0f / e);
  const float turns = 1.44269504f * cosh / (sinh + turn);
  const float along = price * (sad_rate_slope(a - prediction[kP], scale[kP]) + turns) / a;
  gradient[kP] += along * p;
  gradient[kQ] += along * q;
  for (int j = 0; j < channels; ++j) {
    float value = 0.0f;
    for (int c = 0; c < channels; ++c) value += axes[j * channels + c] * params[kColor + c];
    const float slope = price * sad_rate_slope(value - prediction[kColor + j], scale[kColor + j]);
    for (int c = 0; c < channels; ++c) gradient[kColor + c] += slope * axes[j * channels + c];
  }
}

// Uniform in [-1, 1) from a counter (the finalizer of splitmix64; Steele, Lea and Flood 2014).
SAD_FN float sad_counter_noise(unsigned long long seed, unsigned long long counter) {
  unsigned long long z = seed * 0x9e3779b97f4a7c15ull + counter * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  z ^= z >> 31;
  return static_cast<float>(static_cast<int>(z >> 32)) * (1.0f / 2147483648.0f);
}

// A parameter row with noise times uniform numbers added; `counter` is the row's place among all
// parameters. Columns p and q of the noise are along and across the vector (p, q).
SAD_FN void sad_disturb(const float* params, const float* noise, int channels,
                        unsigned long long seed, unsigned long long counter, float* out) {
  float along = 0.0f, across = 0.0f;
  for (int j = 0; j < kColor + channels; ++j) {
    const float delta = noise[j] * sad_counter_noise(seed, counter + j);
    if (j == kP) along = delta;
    if (j == kQ) across = delta;
    out[j] = params[j] + delta;
  }
  const float p = params[kP], q = params[kQ], a = sad_sqrt(p * p + q * q);
  const float ux = a > 1e-6f ? p / a : 1.0f, uy = a > 1e-6f ? q / a : 0.0f;
  out[kP] = p + ux * along - uy * across;
  out[kQ] = q + uy * along + ux * across;
}

// Keep a parameter row inside the bounds above; the image is width x height px.
SAD_FN void sad_clamp_parameters(float* params, int channels, float width, float height) {
  params[kX] = sad_min(sad_max(params[kX], 0.0f), width);
  params[kY] = sad_min(sad_max(params[kY], 0.0f), height);
  params[kLogTau] = sad_min(sad_max(params[kLogTau], kMinLogTau), kMaxLogTau);
  params[kRadius] = sad_min(sad_max(params[kRadius], 0.0f), kMaxRadius);
  const float a = sad_sqrt(params[kP] * params[kP] + params[kQ] * params[kQ]);
  if (a > kMaxAnisotropy) {
    params[kP] = params[kP] * (kMaxAnisotropy / a);
    params[kQ] = params[kQ] * (kMaxAnisotropy / a);
  }
  for (int c = 0; c < channels; ++c)
    params[kColor + c] = sad_min(sad_max(params[kColor + c], kMinColor), kMaxColor);
}

}  // namespace sad
#endif  // SAD_STEPS_H_
