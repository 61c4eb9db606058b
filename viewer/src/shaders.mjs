// Programs of the graphics device. Rows of a frame run downwards, as those of the picture.

/** Sites of a row of their texture, three texels each, and entries of a row of theirs. */
export const SITE_COLUMNS = 512;
export const ENTRY_COLUMNS = 2048;

export const CORNERS = `#version 300 es
void main() {
  gl_Position = vec4(4.0 * float(gl_VertexID & 1) - 1.0, 2.0 * float(gl_VertexID & 2) - 1.0, 0.0, 1.0);
}`;

// Unrolled, which takes a third less time than a loop.
const INSERTION = `
    behind = behind || logit > logits[J];
    other_logit = logits[J];
    other = taken[J];
    logits[J] = behind ? logit : other_logit;
    taken[J] = behind ? site : other;
    logit = behind ? other_logit : logit;
    site = behind ? other : site;`;

function repeated(count, code) {
  return Array.from({ length: count }, (_, j) => code.replaceAll("J", String(j))).join("\n");
}

/**
 * Draws a view: picture, cells or inverse temperature. Coordinates are in pixels of the picture,
 * from the middle of the view: binary32 would not tell distant ones apart at a large zoom. An alpha
 * of 0 marks pixels at which binary32 does not tell which site is the K-th, though it matters.
 */
export function drawing(k) {
  return `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp usampler2D;

const int K = ${k};
const vec3 BACKGROUND = vec3(0.15);
const float ROUNDING = 6e-7;        // relative, of a distance
const float NEGLIGIBLE = 1.0 / 1024.0;  // weight: a quarter of a code value

uniform sampler2D sites;     // x, y, tau, radius | m0, m1, m2, log tau | red, green, blue, alpha
uniform usampler2D tiles;    // first entry, entries
uniform usampler2D entries;  // ascending sites of each tile
uniform int mode;            // 0 picture, 1 cells, 2 inverse temperature
uniform int tile;            // px
uniform int samples;         // along either side of a pixel
uniform float pixel;
uniform float checker;       // side of a square, px
uniform vec2 corner;
uniform vec4 bounds;         // of the picture
uniform vec2 tau_range;      // of log tau
out vec4 result;

vec4 site_texel(int site, int column) {
  return texelFetch(sites, ivec2(site % ${SITE_COLUMNS} * 3 + column, site / ${SITE_COLUMNS}), 0);
}

vec4 code_values(vec4 color) {
  return floor(clamp(color, 0.0, 1.0) * 255.0 + 0.5) / 255.0;
}

// Green 2011, "A colour scheme for the display of astronomical intensity images", as in views.py.
vec3 helix(float value) {
  float share = floor(clamp(value, 0.0, 1.0) * 255.0 + 0.5) / 255.0;
  float angle = 6.283185307 * (0.5 / 3.0 + 1.0 - 0.8 * share);
  vec2 turn = share * (1.0 - share) / 2.0 * vec2(cos(angle), sin(angle));
  return share + vec3(dot(vec2(-0.14861, 1.78277), turn), dot(vec2(-0.29227, -0.90649), turn),
                      1.97294 * turn.x);
}

vec3 over(vec3 ground, vec4 color) {
  return mix(ground, color.rgb, color.a);
}

// Color, and 1 if it is certain.
vec4 drawn(vec2 at, vec3 ground, uvec2 list) {
  float logits[K];
  int taken[K];
  for (int j = 0; j < K; ++j) {
    logits[j] = -3e38;
    taken[j] = -1;
  }
  float left = -3e38;  // the largest logit that is not taken
  float noise = 0.0;   // by which logits around the K-th may be wrong
  for (int e = int(list.x); e < int(list.x + list.y); ++e) {
    int site = int(texelFetch(entries, ivec2(e % ${ENTRY_COLUMNS}, e / ${ENTRY_COLUMNS}), 0).r);
    vec4 place = site_texel(site, 0);
    vec4 shape = site_texel(site, 1);
    vec2 d = at - place.xy;
    vec3 parts = shape.xyz * vec3(d.x * d.x, 2.0 * d.x * d.y, d.y * d.y);
    float distance = sqrt(max(parts.x + parts.y + parts.z, 0.0));
    float logit = place.z * (place.w - distance);
    if (logit > logits[K - 1] - 0.01) {
      float size = distance > 0.0 ? (parts.x + abs(parts.y) + parts.z) / distance : 0.0;
      noise = max(noise, place.z * (abs(place.w) + size) * ROUNDING);
    }
    if (logit <= logits[K - 1]) {
      left = max(left, logit);
      continue;
    }
    // What is behind the new one moves by a place: of equal ones the first stays in front.
    bool behind = false;
    float other_logit;
    int other;
${repeated(k, INSERTION)}
    left = max(left, logit);
  }
  if (mode == 1) return vec4(over(vec3(1.0), code_values(site_texel(taken[0], 2))), 1.0);
  vec4 color = vec4(0.0);
  float log_tau = 0.0;
  float total = 0.0;
  for (int j = 0; j < K && taken[j] >= 0; ++j) {
    float weight = exp(logits[j] - logits[0]);
    total += weight;
    if (mode == 0) color += weight * site_texel(taken[j], 2);
    else log_tau += weight * site_texel(taken[j], 1).w;
  }
  if (mode == 2) {
    return vec4(helix((log_tau / total - tau_range.x) / (tau_range.y - tau_range.x)), 1.0);
  }
  bool matters = exp(logits[K - 1] - logits[0]) > NEGLIGIBLE * total;
  bool certain = !matters || logits[K - 1] - left > 2.0 * noise;
  return vec4(over(ground, code_values(color / total)), certain ? 1.0 : 0.0);
}

void main() {
  ivec2 place = ivec2(gl_FragCoord.xy);
  vec2 middle = corner + gl_FragCoord.xy * pixel;
  uvec2 list = texelFetch(tiles, place / tile, 0).rg;
  if (any(lessThan(middle, bounds.xy)) || any(greaterThan(middle, bounds.zw)) || list.y == 0u) {
    result = vec4(BACKGROUND, 1.0);
    return;
  }
  vec2 square = floor(gl_FragCoord.xy / checker);
  vec3 ground = vec3(mod(square.x + square.y, 2.0) < 0.5 ? 1.0 : 0.8);
  vec4 sum = vec4(0.0);
  for (int i = 0; i < samples * samples; ++i) {
    vec2 part = (vec2(i % samples, i / samples) + 0.5) / float(samples) - 0.5;
    sum += clamp(drawn(middle + part * pixel, ground, list), 0.0, 1.0);
  }
  result = sum / float(samples * samples);
}`;
}

/** Shows a frame, drawn for one view, as it lies in another. */
export const SHOWING = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;

uniform sampler2D frame;
uniform vec2 offset;   // of the view's corner in the frame, px
uniform float ratio;   // pixels of the frame that a pixel takes
uniform float height;  // px
out vec4 result;

void main() {
  vec2 at = offset + ratio * vec2(gl_FragCoord.x, height - gl_FragCoord.y);
  ivec2 place = ivec2(floor(at));
  ivec2 size = textureSize(frame, 0);
  bool inside = all(greaterThanEqual(place, ivec2(0))) && all(lessThan(place, size));
  result = vec4(inside ? texelFetch(frame, place, 0).rgb : vec3(0.15), 1.0);
}`;
